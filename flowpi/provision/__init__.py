"""First boot with no screen: taking over the configuration that a person left on the boot partition."""
