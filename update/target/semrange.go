package target

import "strings"

// inRange reports whether a version is in a semver range (docs/spec/cloud.md 3.8). A range has alternatives, separated
// by ||. The comparators of an alternative must all match: 5, 5.5.*, =5.5.5, >5, >=5.5, <6, <=6, ~5.5, ^5.5 and
// 5.1 - 5.4. A pre-release counts by its precedence. No version is in an invalid range.
func inRange(version, text string) bool {
	v, ok := parseFact(version)
	if !ok {
		return false
	}
	holds := false
	for alternative := range strings.SplitSeq(text, "||") {
		all, ok := v.meets(comparators(alternative))
		if !ok {
			return false
		}
		holds = holds || all
	}
	return holds
}

// comparators splits at spaces, but not between an operator and its version.
func comparators(alternative string) []string {
	var list []string
	operator := ""
	for _, word := range strings.Fields(alternative) {
		if strings.Trim(word, "<>=~^") == "" {
			operator += word
			continue
		}
		list = append(list, operator+word)
		operator = ""
	}
	if operator != "" {
		list = append(list, operator)
	}
	return list
}

// meets reports whether all comparators match, and whether all are valid.
func (v semver) meets(list []string) (holds, ok bool) {
	holds = true
	for i := 0; i < len(list); i++ {
		one, good := false, false
		if i+2 < len(list) && list[i+1] == "-" {
			one, good = v.between(list[i], list[i+2])
			i += 2
		} else {
			one, good = v.meetsOne(list[i])
		}
		if !good {
			return false, false
		}
		holds = holds && one
	}
	return holds, true
}

// between is the range "a - b", both ends included.
func (v semver) between(a, b string) (holds, ok bool) {
	low, okLow := parsePartial(a)
	high, okHigh := parsePartial(b)
	return v.atLeast(low) && v.atMost(high), okLow && okHigh
}

func (v semver) meetsOne(comparator string) (holds, ok bool) {
	text := strings.TrimLeft(comparator, "<>=~^")
	operator := comparator[:len(comparator)-len(text)]
	p, ok := parsePartial(text)
	if !ok || text == "" {
		return false, false
	}
	switch operator {
	case "", "=":
		return v.atLeast(p) && v.atMost(p), true
	case ">=":
		return v.atLeast(p), true
	case "<=":
		return v.atMost(p), true
	case ">":
		return !v.atMost(p), true
	case "<":
		return !v.atLeast(p), true
	case "~", "~>":
		return v.atLeast(p) && v.isBelowNext(p, min(1, p.given-1)), true
	case "^":
		return v.atLeast(p) && v.isBelowNext(p, p.significant()), true
	}
	return false, false
}

func (v semver) atLeast(p semver) bool { return p.given == 0 || v.compare(p.floor()) >= 0 }

func (v semver) atMost(p semver) bool {
	if p.given == 3 {
		return v.compare(p) <= 0
	}
	return v.isBelowNext(p, p.given-1)
}

// isBelowNext reports whether v is lower than the next version of p at number i. A negative i says that p has no number,
// and every version matches.
func (v semver) isBelowNext(p semver, i int) bool { return i < 0 || v.compare(p.next(i)) < 0 }

// significant is the index of the first number that is not zero, or of the last one given.
func (v semver) significant() int {
	for i := range v.given {
		if v.numbers[i] != 0 {
			return i
		}
	}
	return v.given - 1
}
