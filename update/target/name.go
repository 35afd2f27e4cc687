package target

// DeviceName is the name of the device. A device without a name is called local.
func (s *State) DeviceName() string {
	if s.Name == "" {
		return "local"
	}
	return s.Name
}
