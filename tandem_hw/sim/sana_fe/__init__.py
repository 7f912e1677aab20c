"""SANA-FE, an independent simulator of Loihi in C++, as a backend in a process of its own."""
