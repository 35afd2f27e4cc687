package compose

import (
	"slices"
	"strconv"
)

// Altered holds the differences between an object as the agent requested it and as the engine created it: a limit
// whose controller is missing, a default, a spelling. They are no reason to replace the object while target and engine
// keep these values, because a new object would have them too (docs/spec/engine.md 4.2). Each number is the hash of a
// difference.
type Altered []uint64

// Alter records differences directly after the creation of an object.
func Alter(list []Difference) Altered {
	var a Altered
	for _, d := range list {
		a = append(a, d.hash)
	}
	return a
}

// Besides lists the differences that the engine did not make itself.
func (a Altered) Besides(list []Difference) []Difference {
	others := list[:0]
	for _, d := range list {
		if !slices.Contains(a, d.hash) {
			others = append(others, d)
		}
	}
	return others
}

// Describe puts the first few differences into one phrase.
func Describe(list []Difference) string {
	text := ""
	for i, d := range list {
		if i == 4 {
			return text + ", and " + strconv.Itoa(len(list)-i) + " more"
		}
		if i > 0 {
			text += ", "
		}
		text += d.String()
	}
	return text
}
