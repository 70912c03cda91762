"""Bad input by the thousand: what every command says to it, and that what is merely unusual gives the usual result."""
