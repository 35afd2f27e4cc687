package boot

import "strings"

// extra_uEnv.txt, variables of U-Boot a line (spec/cloud.md 6.8), and extlinux.conf, of which FDT and
// APPEND of the label that is started by default count. In both the device tree of the board is managed,
// and of the kernel's command line the processors that the kernel leaves alone. All other lines and
// options stay. The words that begin a line of extlinux.conf may be in either case.

const (
	deviceTree = "fdt"
	isolated   = "isolcpus"
)

// extlinux tells which of the two a file is.
func (f *textFile) extlinux() bool { return strings.HasSuffix(f.path, ".conf") }

// say is a line that says a value of a managed key.
func (f *textFile) say(indent, key, value string) string {
	switch {
	case f.extlinux() && key == deviceTree:
		return indent + "FDT " + value
	case f.extlinux():
		return strings.TrimRight(indent+"APPEND "+value, " ")
	case key == deviceTree:
		return "custom_fdt_file=" + value
	}
	return "extra_os_cmdline=" + value
}

// understand reads a line: the word that begins it, or the key when it is that of a managed one.
func (f *textFile) understand(line string) (word, rest string) {
	word, rest, _ = strings.Cut(line, "=")
	if f.extlinux() {
		word = strings.TrimSpace(line)
		if i := strings.IndexAny(word, " \t"); i >= 0 {
			word, rest = word[:i], word[i:]
		} else {
			rest = ""
		}
		word = strings.ToLower(word)
	}
	word, rest = strings.TrimSpace(word), strings.TrimSpace(rest)
	switch word {
	case "custom_fdt_file":
		word = deviceTree
	case "append", "extra_os_cmdline":
		word = isolated
	case deviceTree, isolated:
		if !f.extlinux() || word == isolated {
			word = "another"
		}
	}
	return word, rest
}

// part are the lines that count: from first up to end. None is an end of 0.
func (f *textFile) part(lines []string) (first, end int) {
	if !f.extlinux() {
		return 0, len(lines)
	}
	chosen := ""
	for i, line := range lines {
		switch word, rest := f.understand(line); {
		case word == "default":
			chosen = rest
		case word != "label":
		case first > 0:
			return first, i
		case chosen == "" || rest == chosen:
			first = i + 1
		}
	}
	if first > 0 {
		end = len(lines)
	}
	return first, end
}

// option is the value of an option of a command line.
func option(line, name string) (value string) {
	for _, word := range strings.Fields(line) {
		if rest, ok := strings.CutPrefix(word, name+"="); ok {
			value = rest
		}
	}
	return value
}

// withOption is a command line with an option as it is to be; empty removes it.
func withOption(line, name, value string) string {
	if option(line, name) == value {
		return line
	}
	var words []string
	for _, word := range strings.Fields(line) {
		if !strings.HasPrefix(word, name+"=") {
			words = append(words, word)
		}
	}
	if value != "" {
		words = append(words, name+"="+value)
	}
	return strings.Join(words, " ")
}

func (f *textFile) parseKernel(text string) keys {
	k := make(keys)
	lines := rows(strings.ToValidUTF8(text, "\uFFFD"))
	first, end := f.part(lines)
	for _, line := range lines[first:max(first, end)] {
		word, rest := f.understand(line)
		if word == isolated {
			rest = option(rest, isolated)
		}
		if rest != "" && (word == isolated || word == deviceTree) {
			k[word] = []string{rest}
		}
	}
	return k
}

func (f *textFile) renderKernel(text string, want keys) string {
	lines := rows(text)
	first, end := f.part(lines)
	if f.extlinux() && end == 0 {
		return text
	}
	out := append([]string{}, lines[:first]...)
	last, indent := first, "      "
	placed := make(map[string]bool)
	put := func(key, options string) {
		value := ""
		if want[key] != nil {
			value = want[key][0]
		}
		if key == isolated {
			value = withOption(options, isolated, value)
		}
		if value != "" && (!placed[key] || options != "") {
			out = append(out, f.say(indent, key, value))
		}
		placed[key] = true
	}
	for _, line := range lines[first:end] {
		word, rest := f.understand(line)
		if word != "" {
			indent = line[:len(line)-len(strings.TrimLeft(line, " \t"))]
		}
		switch word {
		case deviceTree:
			put(word, "")
		case isolated:
			put(word, rest)
		default:
			out = append(out, line)
		}
		if word != "" {
			last = len(out)
		}
	}
	blank := append([]string{}, out[last:]...)
	out = out[:last]
	for _, key := range [...]string{deviceTree, isolated} {
		if !placed[key] {
			put(key, "")
		}
	}
	return joined(append(append(out, blank...), lines[end:]...))
}
