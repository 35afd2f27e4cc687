package boot

import "strings"

// kernelKeys are what extra_uEnv.txt and extlinux.conf have in common: the device tree of the board,
// and the processors that the kernel leaves alone.
type kernelKeys struct{}

const (
	deviceTree = "fdt"
	isolated   = "isolcpus"
)

func (kernelKeys) owns(key string) bool { return key != "" }

// fixed refuses the keys that these files do not hold.
func (kernelKeys) fixed(key string) bool { return key != deviceTree && key != isolated }

func (kernelKeys) same(_ string, a, b []string) bool { return one(a) == one(b) }

func (kernelKeys) want(_, text string) ([]string, error) { return entry(strings.TrimSpace(text)), nil }

func (kernelKeys) complete(keys) {}

func (kernelKeys) variable(_ string, entries []string) (string, bool) { return one(entries), true }

// one is the only entry of a key, empty when there is none.
func one(entries []string) string {
	if len(entries) == 0 {
		return ""
	}
	return entries[0]
}

func entry(text string) []string {
	if text == "" {
		return nil
	}
	return []string{text}
}

// set sets a key unless there is nothing to set it to.
func (k keys) set(key, text string) {
	if text != "" {
		k[key] = []string{strings.ToValidUTF8(text, "\uFFFD")}
	}
}

// option is the value of an option of a kernel command line.
func option(line, name string) (value string) {
	for _, word := range strings.Fields(line) {
		if rest, ok := strings.CutPrefix(word, name+"="); ok {
			value = rest
		}
	}
	return value
}

// withOption is a command line with the option as it is to be; empty removes it.
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

// extraUEnv is the syntax of extra_uEnv.txt, variables of U-Boot a line (spec/cloud.md 6.8). All lines
// but the two that are managed stay, and of the kernel's command line all other options.
type extraUEnv struct{ kernelKeys }

const (
	treeFile    = "custom_fdt_file"
	commandLine = "extra_os_cmdline"
)

func (extraUEnv) parse(text string) keys {
	k := make(keys)
	for _, line := range rows(text) {
		name, value, _ := strings.Cut(line, "=")
		switch strings.TrimSpace(name) {
		case treeFile:
			k.set(deviceTree, strings.TrimSpace(value))
		case commandLine:
			k.set(isolated, option(value, isolated))
		}
	}
	return k
}

func (extraUEnv) render(text string, want keys) string {
	var lines []string
	options := ""
	put := func(name, value string) {
		if value != "" {
			lines = append(lines, name+"="+value)
		}
	}
	tree, treeDone, optionsAt := one(want[deviceTree]), false, -1
	for _, line := range rows(text) {
		name, value, _ := strings.Cut(line, "=")
		switch strings.TrimSpace(name) {
		case treeFile:
			if !treeDone {
				put(treeFile, tree)
			}
			treeDone = true
		case commandLine:
			options = value // the last one counts
			if optionsAt < 0 {
				optionsAt = len(lines)
			}
		default:
			lines = append(lines, line)
		}
	}
	if !treeDone {
		put(treeFile, tree)
	}
	if options = withOption(options, isolated, one(want[isolated])); options != "" {
		if optionsAt < 0 {
			optionsAt = len(lines)
		}
		lines = append(lines[:optionsAt], append([]string{commandLine + "=" + options}, lines[optionsAt:]...)...)
	}
	return joined(lines)
}
