"""The tools of operators: the dashboard, the alerts, the runbooks and the compose file."""
