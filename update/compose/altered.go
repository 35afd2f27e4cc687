package compose

import (
	"slices"
	"strconv"
)

// Altered is what an engine made otherwise of an object than it was asked for, as it was directly after the
// agent made the object: a limit whose controller is missing, a default, a spelling. Nothing is done about it
// as long as target and engine keep these values, since making the object again would bring the same
// (docs/spec/engine.md 4.2). The numbers stand for differences.
type Altered []uint64

// Alter notes differences.
func Alter(list []Difference) Altered {
	var a Altered
	for _, d := range list {
		a = append(a, d.sum)
	}
	return a
}

// Besides lists the differences that are not of the engine's making.
func (a Altered) Besides(list []Difference) []Difference {
	rest := list[:0]
	for _, d := range list {
		if !slices.Contains(a, d.sum) {
			rest = append(rest, d)
		}
	}
	return rest
}

// Describe puts differences into one phrase, of many the first few.
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
