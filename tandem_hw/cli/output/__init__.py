"""How results leave a command: tables and sentences that fit, and files that are said."""
