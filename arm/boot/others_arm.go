package boot

// addOthers adds nothing, because no board with further backends is of 32-bit ARM.
func (*Config) addOthers(Options) {}
