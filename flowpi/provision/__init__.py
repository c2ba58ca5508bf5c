"""First boot without a screen: applies the configuration that the user left on the boot partition."""
