package boot

import "strings"

// extra_uEnv.txt has a variable of U-Boot in each line (docs/spec/cloud.md 6.8). Of extlinux.conf the lines FDT and
// APPEND of the default label count; these words may be in upper or lower case. In both files the agent manages the
// device tree, and the isolated processors in the kernel's command line. All other lines and options stay.

const (
	deviceTree = "fdt"
	isolated   = "isolcpus"
)

// kernelSyntax is the syntax of such a file.
type kernelSyntax struct {
	separator, tree, options string
}

var (
	uEnvSyntax     = &kernelSyntax{separator: "=", tree: "custom_fdt_file", options: "extra_os_cmdline"}
	extlinuxSyntax = &kernelSyntax{separator: " ", tree: "FDT", options: "APPEND"}
)

// parseLine splits a line into its first word and the rest. key is empty for a line that is not managed.
func (s *kernelSyntax) parseLine(line string) (key, word, rest string) {
	word, rest, _ = strings.Cut(strings.ReplaceAll(strings.TrimSpace(line), "\t", " "), s.separator)
	word, rest = strings.TrimSpace(word), strings.TrimSpace(rest)
	switch {
	case strings.EqualFold(word, s.tree):
		key = deviceTree
	case strings.EqualFold(word, s.options):
		key = isolated
	}
	return key, word, rest
}

// managedLines returns the range of lines that count. For extlinux.conf it is that of the default label, which is the
// first one when none is named. end is 0 when there is none.
func (s *kernelSyntax) managedLines(lines []string) (first, end int) {
	if s == uEnvSyntax {
		return 0, len(lines)
	}
	chosen := ""
	for i, line := range lines {
		switch _, word, rest := s.parseLine(line); {
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

// option returns the value of an option of a command line, and the line without it.
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

func (s *kernelSyntax) parse(text string) keys {
	k := make(keys)
	lines := splitLines(strings.ToValidUTF8(text, "\uFFFD"))
	first, end := s.managedLines(lines)
	for _, line := range lines[first:end] {
		key, _, rest := s.parseLine(line)
		if key == isolated {
			rest, _ = option(rest, isolated)
		}
		if delete(k, key); key != "" && rest != "" {
			k[key] = rest
		}
	}
	return k
}

// render changes the lines of managed keys in place. New lines are the first of a label, and the last of extra_uEnv.txt.
func (s *kernelSyntax) render(text string, want keys) string {
	lines := splitLines(text)
	first, end := s.managedLines(lines)
	tree, cpus := want[deviceTree], want[isolated]
	body, fresh, indent, rest := "", "", "", ""
	for i, line := range lines {
		if i < first || i >= end {
			continue
		}
		key, word, value := s.parseLine(line)
		if word != "" {
			indent = line[:len(line)-len(strings.TrimLeft(line, " \t"))]
		}
		switch key {
		case deviceTree:
			line, tree = s.line(indent, s.tree, tree), ""
		case isolated:
			if had, without := option(value, isolated); had != cpus {
				line = s.line(indent, s.options, without+isolation(cpus))
			} else {
				line += "\n"
			}
			cpus = ""
		default:
			line += "\n"
		}
		body += line
	}
	fresh = s.line(indent, s.tree, tree) + s.line(indent, s.options, isolation(cpus))
	if s != uEnvSyntax {
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

// line is a line with a value, or empty without a value.
func (s *kernelSyntax) line(indent, word, value string) string {
	if value = strings.TrimSpace(value); value == "" {
		return ""
	}
	return indent + word + s.separator + value + "\n"
}

func isolation(cpus string) string {
	if cpus == "" {
		return ""
	}
	return " " + isolated + "=" + cpus
}
