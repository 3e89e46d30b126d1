"""How what is kept lies on the disk: sealed with the administrator's key, where there is one."""
