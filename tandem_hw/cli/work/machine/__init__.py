"""What ``tandem-hw doctor`` looks at: this machine, what is installed, and whether it works."""
