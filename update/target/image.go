package target

import "strings"

// image is a required image name of at most 255 characters, normalised. The added tag latest does not count, so that a
// stored name can be read back.
func (n node) image() string {
	s, ok := n.value.(string)
	if !ok {
		n.expected("string")
		return ""
	}
	if isLongerThan(strings.TrimSuffix(s, ":latest"), maxText) {
		n.expected("string of at most 255 characters")
		return ""
	}
	name, err := Normalise(s)
	if err != nil {
		n.expected("image name")
	}
	return name
}
