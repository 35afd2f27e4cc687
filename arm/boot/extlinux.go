package boot

import "strings"

// extlinux is the syntax of extlinux.conf: FDT and APPEND of the label that is started by default. All
// else stays as it is. Words that begin a line may be in either case.
type extlinux struct{ kernelKeys }

// directive splits a line into the word that begins it, in lower case, and the rest.
func directive(line string) (word, rest string) {
	line = strings.TrimSpace(line)
	if i := strings.IndexAny(line, " \t"); i >= 0 {
		return strings.ToLower(line[:i]), strings.TrimSpace(line[i:])
	}
	return strings.ToLower(line), ""
}

// entryOf are the lines of the label that is started: from first, which is behind its own, up to end.
// Without a word on which that is, it is the first; first is 0 when there is none.
func entryOf(lines []string) (first, end int) {
	chosen := ""
	for _, line := range lines {
		if word, rest := directive(line); word == "default" {
			chosen = rest
		}
	}
	for i, line := range lines {
		word, rest := directive(line)
		if word != "label" {
			continue
		}
		if first > 0 {
			return first, i
		}
		if chosen == "" || rest == chosen {
			first = i + 1
		}
	}
	return first, len(lines)
}

func (extlinux) parse(text string) keys {
	k := make(keys)
	lines := rows(text)
	first, end := entryOf(lines)
	if first == 0 {
		return k
	}
	for _, line := range lines[first:end] {
		switch word, rest := directive(line); word {
		case "fdt":
			k.set(deviceTree, rest)
		case "append":
			k.set(isolated, option(rest, isolated))
		}
	}
	return k
}

func (extlinux) render(text string, want keys) string {
	lines := rows(text)
	first, end := entryOf(lines)
	if first == 0 {
		return text
	}
	out := append([]string{}, lines[:first]...)
	indent, last := "      ", len(out)
	tree, isolate := one(want[deviceTree]), one(want[isolated])
	treeDone, appended := tree == "", isolate == ""
	for _, line := range lines[first:end] {
		word, rest := directive(line)
		if word != "" {
			indent = line[:len(line)-len(strings.TrimLeft(line, " \t"))]
		}
		switch word {
		case "fdt":
			if treeDone {
				continue
			}
			line, treeDone = indent+"FDT "+tree, true
		case "append":
			line, appended = strings.TrimRight(indent+"APPEND "+withOption(rest, isolated, isolate), " "), true
		}
		out = append(out, line)
		if word != "" {
			last = len(out)
		}
	}
	var added []string
	if !treeDone {
		added = append(added, indent+"FDT "+tree)
	}
	if !appended {
		added = append(added, indent+"APPEND "+isolated+"="+isolate)
	}
	out = append(out[:last], append(added, out[last:]...)...)
	return joined(append(out, lines[end:]...))
}
