"""`aiprime replay`: the past played as live traffic, through the gateway, with the truth arriving late."""
