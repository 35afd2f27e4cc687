package boot

// addOthers adds nothing: the boards with further places are none of 32-bit ARM.
func (*Config) addOthers(Options) {}
