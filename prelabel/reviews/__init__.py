"""What people have reviewed in a project, as each process knows it: for prompts, votes, the weak model and evidence.

``source`` has it of all projects, up to date with the store; ``tasks`` of one, task by task; ``fitted`` is its weak
model. What is made of it is pure and in ``quality``: ``reviews``, ``surroundings``, ``evidence``.
"""
