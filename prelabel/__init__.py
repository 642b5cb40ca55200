"""prelabel: a Label Studio ML backend that pre-labels support tickets with an LLM.

In reading order, which is also the order of one ticket's way:

``errors``      every way this can fail
``config``      settings, from the environment and per project
``address``     what is at an address, or why nothing is
``core``        pure: ``types``, then ``schema`` and ``prompt`` (what is asked), ``parse``, ``mend`` and ``match``
                (what came back), ``token_probability`` and ``majority`` (how sure that is), ``signals`` (what speaks
                for a label), ``kept`` (an answer that is kept), ``tokens``, ``rates`` (how fast a server is asked),
                ``terms`` and ``snippets`` (pieces of a glossary and of a guideline), ``rules`` (what they vote for) and
                ``conditions`` (when)
``studio``      Label Studio's dialect: ``label_config``, ``tickets``, ``predictions``, ``annotations``;
                and its API: ``client`` (with ``query``, ``rows``, ``refusals``, ``tokens``), ``connect`` (with
                ``wiring``)
``llm``         an LLM's server: ``exchange`` (request and reply), ``endpoint``, ``chat`` (one request), ``forms`` and
                ``capabilities`` (what a server understands), ``bodies``, ``refusals``, ``replies``, ``pricing``,
                ``pauses`` and ``tries``, ``limits`` (who may ask next; with ``concurrency``, ``budget``, ``notes``,
                ``chore``, ``rate_headers``), ``fallbacks`` (models in turn), ``batch_api`` (many requests within a day
                at half the price; with ``batches``, ``batch_files``), ``memory``, ``meter`` (what is counted), ``loop``
                (from threads to asyncio)
``store``       what is kept in Redis: ``keys`` (all of them), ``projects`` (with ``predicted``), ``prompts``,
                ``annotations``, ``run`` and ``runs`` (with ``run_scripts``), ``ledger`` (a run's tasks, with
                ``ledger_scripts``), ``batches`` (what it has at a provider, with ``batch_scripts``), ``jobs``,
                ``workers``, ``health``, ``llm_memory``, ``limits`` (an LLM's, for all processes), ``counts`` (what
                workers count), ``answers`` (so that the same is not asked twice), ``sealed`` (what
                is said of withheld tasks)
``quality``     statistics over tickets: ``similarity``, ``grouping``, ``weak_model``; over what people have reviewed:
                ``reviews`` (several people, one answer), ``same_text``, ``few_shot`` (examples), ``neighbors``,
                ``surroundings`` (all of these), ``evidence`` (what was labelled blind); of one control ``heard`` (all
                that is said of it) and ``deciding`` (one decision of that); what decisions are made by: ``scoring``,
                learned in ``fitting``, of a ``calibration`` by stages (``calibrator``, with ``logistic`` and
                ``monotone``), ``fusion`` (several votes to one, with ``pool``) and a ``rule_record``; how good it all
                is: ``metrics``, ``report``, ``rule_figures``, with ``intervals`` and ``table``
``asking``      tickets to outcomes within a deadline: ``requests`` (what one says), ``ask`` (what goes again),
                ``several`` (several answers to each ticket), ``known`` (what need not be asked), ``offline`` (requests
                now, outcomes later: for batches), ``groups`` (who shares a request)
``reviews``     what people have reviewed, as each process knows it: ``source``, ``tasks``, ``fitted`` (the weak model)
``guidance``    what bears on a ticket beside them: ``notes``, made of the ``glossary`` and of the ``folder`` of
                guidelines (those snippets that are ``fitting``), each ``watched`` for edits; and ``rules``, of a
                ``rule_file`` with ``expressions``; ``lines`` (what is wrong in such a file, and where)
``versions``    the model version
``project``     a project as it stands
``answering``   tickets to what an LLM says of them
``hearing``     what is known of tickets before anybody is asked, and ``judging``: all that is heard to outcomes
``labeling``    the heart: all of it put together
``evidence``    how good labels are, by tasks that people label blind
``service``     what Label Studio is answered
``learning``    what Label Studio's webhooks teach
``connecting``  projects that show up or whose version moved
``overflow``    tasks that were not reached in time, to a bulk run
``metrics``     what Prometheus is told: ``measures`` (what a process counts), ``directory`` (of gunicorn's processes),
                ``reporting`` (of workers, by Redis), ``exposition`` (all of it)
``bootstrap``   builds everything once a process
``runs``        what workers do: ``jobs``, ``bulk`` (a worker's share in a whole project: ``opened``, its ``turn``, the
                ``crew`` of its threads) with ``learn`` (from evidence), ``plan``, ``shard``, ``gate`` (what
                a run may cost), ``batch`` (with ``batch_sending``, ``batch_finding``, ``batch_reading``, ``provider``,
                ``leftovers``), ``writing``, ``sweep``, ``estimate``, ``lease``, ``outlasting`` (Redis away),
                ``patience`` (Label Studio away) and ``stopping``; ``control`` (bulk runs from outside), ``worker``
``web``         HTTP: ``protocol`` (Label Studio's endpoints), ``api`` (ours), ``auth``, ``ready``, ``metrics``,
                ``path`` (under a path of its own)
``files``       a file of tickets to Label Studio's import format: ``read``, ``reviews``, ``label``, ``command``
``running``     the backend that runs, asked from a shell
``doctor``      what is wrong, and its cure: ``findings``, ``examination`` (the order of the checks), one module a piece
``cli``         the shell, with ``cli_runs``, ``cli_quality`` and ``shell``; apart from it ``health``, for health checks
"""
