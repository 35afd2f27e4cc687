package boot

import "strings"

// extra_uEnv.txt, variables of U-Boot a line (docs/spec/cloud.md 6.8), and extlinux.conf, of which FDT and
// APPEND of the label that is started by default count. In both the device tree of the board is managed,
// and of the kernel's command line the processors that the kernel leaves alone. All other lines and
// options stay. The words that begin a line of extlinux.conf may be in either case.

const (
	deviceTree = "fdt"
	isolated   = "isolcpus"
)

// wording is how such a file says it.
type wording struct {
	_ [0]func() // nobody compares it: no code for that

	separator, tree, options string
}

var (
	uEnvWords     = &wording{separator: "=", tree: "custom_fdt_file", options: "extra_os_cmdline"}
	extlinuxWords = &wording{separator: " ", tree: "FDT", options: "APPEND"}
)

// understand reads a line: the key it sets, which is empty for one that is not managed, and the rest.
func (w *wording) understand(line string) (key, word, rest string) {
	word, rest, _ = strings.Cut(strings.ReplaceAll(strings.TrimSpace(line), "\t", " "), w.separator)
	word, rest = strings.TrimSpace(word), strings.TrimSpace(rest)
	switch {
	case strings.EqualFold(word, w.tree):
		key = deviceTree
	case strings.EqualFold(word, w.options):
		key = isolated
	}
	return key, word, rest
}

// part are the lines that count: from first up to end, of extlinux.conf those of the label that is
// started, which is the first when none is named. None is an end of 0.
func (w *wording) part(lines []string) (first, end int) {
	if w == uEnvWords {
		return 0, len(lines)
	}
	chosen := ""
	for i, line := range lines {
		switch _, word, rest := w.understand(line); {
		case strings.EqualFold(word, "default"):
			chosen = rest
		case !strings.EqualFold(word, "label"):
		case first > 0:
			return first, i
		case chosen == "" || rest == chosen:
			first, end = i+1, len(lines)
		}
	}
	return first, end
}

// option is the value of an option of a command line, and the line without it.
func option(line, name string) (value, without string) {
	for _, word := range strings.Fields(line) {
		if rest, ok := strings.CutPrefix(word, name+"="); ok {
			value = rest
		} else {
			without += " " + word
		}
	}
	return value, without
}

func (w *wording) parse(text string) keys {
	k := make(keys)
	lines := rows(strings.ToValidUTF8(text, "\uFFFD"))
	first, end := w.part(lines)
	for _, line := range lines[first:end] {
		key, _, rest := w.understand(line)
		if key == isolated {
			rest, _ = option(rest, isolated)
		}
		if delete(k, key); key != "" && rest != "" {
			k[key] = rest
		}
	}
	return k
}

// render changes the lines of managed keys where they are. A new one comes first in a label, and last in
// extra_uEnv.txt.
func (w *wording) render(text string, want keys) string {
	lines := rows(text)
	first, end := w.part(lines)
	tree, cpus := want[deviceTree], want[isolated]
	body, fresh, indent, rest := "", "", "", ""
	for i, line := range lines {
		if i < first || i >= end {
			continue
		}
		key, word, value := w.understand(line)
		if word != "" {
			indent = line[:len(line)-len(strings.TrimLeft(line, " \t"))]
		}
		switch key {
		case deviceTree:
			line, tree = w.line(indent, w.tree, tree), ""
		case isolated:
			if had, without := option(value, isolated); had != cpus {
				line = w.line(indent, w.options, without+isolation(cpus))
			} else {
				line += "\n"
			}
			cpus = ""
		default:
			line += "\n"
		}
		body += line
	}
	fresh = w.line(indent, w.tree, tree) + w.line(indent, w.options, isolation(cpus))
	if w != uEnvWords {
		body, fresh = fresh, body
	}
	for i, line := range lines {
		switch {
		case i < first:
			rest += line + "\n"
		case i >= end:
			fresh += line + "\n"
		}
	}
	return rest + body + fresh
}

// line is a line that says something, or none that would say nothing.
func (w *wording) line(indent, word, value string) string {
	if value = strings.TrimSpace(value); value == "" {
		return ""
	}
	return indent + word + w.separator + value + "\n"
}

func isolation(cpus string) string {
	if cpus == "" {
		return ""
	}
	return " " + isolated + "=" + cpus
}
