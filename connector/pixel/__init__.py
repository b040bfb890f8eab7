"""The browser's side: the snippets a shop pastes in, and the check that browser and server events merge."""
