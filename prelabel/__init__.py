"""prelabel: a Label Studio ML backend that pre-labels support tickets with an LLM.

In reading order, which is also the order of one ticket's way:

``errors``      every way this can fail
``config``      settings, from the environment and per project
``address``     what is at an address, or why nothing is
``core``        pure: ``types``, then ``schema`` and ``prompt`` (what is asked), ``parse``, ``mend`` and ``match``
                (what came back), ``kept`` (an answer that is kept), ``tokens``, ``rates`` (how fast a server is
                asked), ``terms`` and ``snippets`` (pieces of a glossary and of a guideline)
``studio``      Label Studio's dialect: ``label_config``, ``tickets``, ``predictions``, ``annotations``;
                and its API: ``client`` (with ``rows``, ``refusals``, ``tokens``), ``connect`` (with ``wiring``)
``llm``         an LLM's server: ``exchange`` (request and reply), ``endpoint``, ``chat`` (one request), ``forms`` and
                ``capabilities`` (what a server understands), ``refusals``, ``replies``, ``pricing``, ``limits`` (who
                may ask next; with ``concurrency``, ``budget``, ``notes``, ``chore``, ``rate_headers``), ``fallbacks``
                (models in turn), ``memory``, ``loop`` (from threads to asyncio)
``store``       what is kept in Redis: ``keys`` (all of them), ``projects``, ``prompts``, ``annotations``, ``runs``
                (with ``run_scripts``), ``jobs``, ``workers``, ``health``, ``llm_memory``, ``limits`` (an LLM's, for
                all processes), ``answers`` (so that the same is not asked twice)
``quality``     statistics over tickets: ``similarity``, ``grouping``, ``weak_model``
``asking``      tickets to outcomes within a deadline: ``requests`` (what one says), ``ask`` (what goes again),
                ``known`` (what need not be asked)
``examples``    the reviewed tickets nearest to a new one
``guidance``    what bears on a ticket beside them: ``notes``, made of the ``glossary`` and of the ``folder`` of
                guidelines (those snippets that are ``fitting``), each ``watched`` for edits
``versions``    the model version
``project``     a project as it stands
``labeling``    the heart: all of it put together
``service``     what Label Studio is answered
``learning``    what Label Studio's webhooks teach
``connecting``  projects that show up or whose version moved
``bootstrap``   builds everything once a process
``runs``        what workers do: ``jobs``, ``bulk`` (a whole project) with ``remaining``, ``writing``, ``sweep``,
                ``lease`` and ``stopping``, ``control`` (bulk runs from outside), ``worker``
``web``         HTTP: ``protocol`` (Label Studio's endpoints), ``api`` (ours), ``auth``, ``ready``,
                ``path`` (under a path of its own)
``files``       a file of tickets to Label Studio's import format: ``read``, ``reviews``, ``label``, ``command``
``running``     the backend that runs, asked from a shell
``doctor``      what is wrong, and its cure: ``findings``, ``examination`` (the order of the checks), one module a piece
``cli``         the shell, with ``cli_runs`` and ``shell``; apart from it ``health``, for health checks
"""
