"""prelabel: a Label Studio ML backend that pre-labels support tickets with an LLM.

In reading order, which is also the order of one ticket's way:

``errors``      every way this can fail
``config``      settings, from the environment and per project
``address``     what is at an address, or why nothing is
``core``        pure: ``types``, then ``schema`` and ``prompt`` (what is asked), ``parse`` and ``match`` (what came
                back), ``tokens``
``studio``      Label Studio's dialect: ``label_config``, ``tickets``, ``predictions``, ``annotations``;
                and its API: ``client`` (with ``rows``, ``refusals``, ``tokens``), ``connect`` (with ``wiring``)
``llm``         an LLM's server: ``chat`` (one request), ``loop`` (from threads to asyncio)
``store``       what is kept in Redis: ``keys`` (all of them), ``projects``, ``prompts``, ``annotations``, ``runs``
                (with ``run_scripts``), ``jobs``, ``workers``, ``health``
``quality``     statistics over reviewed tickets: ``similarity``, ``weak_model``
``asking``      tickets to outcomes, several a request, within a deadline
``examples``    the reviewed tickets nearest to a new one
``versions``    the model version
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
``doctor``      what is wrong, and its cure: ``findings``, ``examination`` (the order of the checks), one module a piece
``cli``         the shell, with ``cli_runs`` and ``shell``; apart from it ``health``, for health checks
"""
