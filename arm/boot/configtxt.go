package boot

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
)

// configTxt is the syntax of config.txt of a Raspberry Pi (spec/cloud.md 6.7).
//
// Managed are the lines outside of conditional sections, that is above the first [filter] and below an
// [all], that are `key=value` or `initramfs value`, but for the keys that may not be changed. A file
// without sections is written as the specification says: a line for each value in the order that the
// keys have, keys that are new after them, then the overlays, each followed by its parameters; blank
// lines go. All other lines stay where they are, word for word: comments, sections with all that is in
// them, keys that may not be changed, and what is no assignment. In a file with sections the lines of
// keys whose values do not change stay as well, since what comes before and after a section matters;
// what is new goes to the end of the last part that is no conditional section.
type configTxt struct {
	finned bool // the board always has the overlay of balenaFin
}

const finOverlay = "balena-fin"

// parameters that are those of the base, whatever overlay was opened before.
var baseParameters = []string{"audio", "spi", "i2c", "i2c_arm", "i2c_vc", "i2c_baudrate", "i2c_arm_baudrate", "i2c_vc_baudrate"}

// fixedKeys may not be changed: with most of them a device does not start, or not this system.
var fixedKeys = []string{"disable_commandline_tags", "cmdline", "kernel", "kernel_address", "kernel_old", "ramfsfile", "ramfsaddr",
	"initramfs", "device_tree_address", "init_emmc_clock", "avoid_safe_mode"}

const (
	overlays   = "dtoverlay"
	parameters = "dtparam"
)

// owns leaves the keys of an Orin to it.
func (configTxt) owns(key string) bool {
	return key != "" && key != powerMode && key != fanProfile
}

func (configTxt) fixed(key string) bool { return slices.Contains(fixedKeys, key) }

// isList tells whether a key may come more than once.
func isList(key string) bool {
	switch key {
	case parameters, overlays, "device_tree_param", "device_tree_overlay", "gpio":
		return true
	}
	return false
}

// parameter is the name of an overlay's parameter or of one of the base.
func parameter(text string) string {
	name, _, _ := strings.Cut(text, "=")
	return strings.TrimSpace(name)
}

func isBase(text string) bool { return slices.Contains(baseParameters, parameter(text)) }

// row is a line of the file. One that is not managed has no key.
type row struct{ text, key, value string }

// scan reads lines, and tells whether there are sections and how many lines there are up to the end of
// the last part that is no conditional section.
func scan(text string) (list []row, sectioned bool, end int) {
	conditional := false
	for i, line := range rows(text) {
		r := row{text: line}
		bare := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(bare, "["):
			name, _, _ := strings.Cut(bare[1:], "]")
			sectioned, conditional = true, !strings.EqualFold(strings.TrimSpace(name), "all")
		case conditional, bare == "", bare[0] == '#':
		default:
			r.key, r.value = assignment(bare)
		}
		list = append(list, r)
		if !conditional {
			end = i + 1
		}
	}
	return list, sectioned, end
}

// assignment splits a line; what is none has no key. Variables are text, so what is none counts as they
// would say it.
func assignment(line string) (key, value string) {
	line = strings.ToValidUTF8(line, "\uFFFD")
	if rest, ok := strings.CutPrefix(line, "initramfs "); ok {
		return "initramfs", strings.TrimSpace(rest)
	}
	key, value, ok := strings.Cut(line, "=")
	if !ok {
		return "", ""
	}
	return strings.TrimSpace(key), strings.TrimSpace(value)
}

// split is a list with commas, without what is empty.
func split(text string) (list []string) {
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}

func (c configTxt) parse(text string) keys {
	k := make(keys)
	var open []string // the overlay that parameters are of
	shut := func() {
		if open != nil {
			k[overlays] = append(k[overlays], overlay(open))
		}
		open = nil
	}
	list, _, _ := scan(text)
	for _, r := range list {
		switch {
		case r.key == "":
		case r.key == overlays:
			shut()
			open = split(r.value)
		case r.key == parameters:
			for _, p := range split(r.value) {
				if open != nil && !isBase(p) {
					open = append(open, p)
				} else {
					k[parameters] = append(k[parameters], p)
				}
			}
		case isList(r.key):
			k[r.key] = append(k[r.key], r.value)
		default:
			k[r.key] = []string{r.value}
		}
	}
	shut()
	if list := k[parameters]; list != nil {
		k[parameters] = lastOfEach(list)
	}
	return k
}

// overlay is the entry of an overlay: its name and parameters. Those that have a name of the base come
// first, since they can only be written into the line of the overlay itself.
func overlay(parts []string) string {
	entry, rest := parts[0], ""
	for _, p := range parts[1:] {
		if isBase(p) {
			entry += "," + p
		} else {
			rest += "," + p
		}
	}
	return entry + rest
}

// lastOfEach is a list of parameters of which the last of a name counts.
func lastOfEach(list []string) []string {
	var kept []string
	for i, p := range list {
		later := slices.ContainsFunc(list[i+1:], func(q string) bool { return parameter(q) == parameter(p) })
		if !later {
			kept = append(kept, p)
		}
	}
	return kept
}

// same compares entries. The order of parameters of the base has no meaning.
func (configTxt) same(key string, a, b []string) bool {
	if key == parameters {
		a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	}
	return slices.Equal(a, b)
}

func (configTxt) want(key, text string) ([]string, error) {
	text = strings.TrimSpace(text)
	if !isList(key) {
		return []string{text}, nil
	}
	entries := []string{text}
	if strings.HasPrefix(text, `"`) {
		entries = nil
		if json.Unmarshal([]byte("["+text+"]"), &entries) != nil {
			return nil, errors.New("not a list of quoted values")
		}
	}
	var list []string
	for _, entry := range entries {
		entry = strings.TrimSpace(entry)
		switch {
		case key == parameters:
			list = append(list, split(entry)...)
		case key != overlays && entry != "":
			list = append(list, entry)
		case key == overlays && len(split(entry)) > 0:
			list = append(list, overlay(split(entry)))
		}
	}
	if key == parameters {
		list = lastOfEach(list)
	}
	return list, nil
}

func isFin(entry string) bool {
	name, _, _ := strings.Cut(entry, ",")
	return name == finOverlay
}

func (c configTxt) complete(want keys) {
	if c.finned && !slices.ContainsFunc(want[overlays], isFin) {
		want[overlays] = append([]string{finOverlay}, want[overlays]...)
	}
}

func (c configTxt) variable(key string, entries []string) (text string, shown bool) {
	if !isList(key) {
		return entries[0], true
	}
	if key == overlays && c.finned {
		entries = slices.DeleteFunc(slices.Clone(entries), func(e string) bool { return e == finOverlay })
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(entries) // texts always encode
	text = strings.TrimSpace(out.String())
	return text[1 : len(text)-1], len(entries) > 0
}

func (c configTxt) render(text string, want keys) string {
	list, sectioned, end := scan(text)
	have := c.parse(text)
	unchanged := func(key string) bool { return sectioned && c.same(key, have[key], want[key]) }
	tree := unchanged(parameters) && unchanged(overlays) // they share their lines
	last := make(map[string]int)
	for i, r := range list {
		last[r.key] = i
	}
	var lines []string
	placed := map[string]bool{parameters: tree, overlays: tree}
	put := func(key string) {
		placed[key] = true
		for _, entry := range want[key] {
			lines = append(lines, written(key, entry)...)
		}
	}
	for i, r := range list {
		if i == end {
			c.appendNew(want, placed, put, sectioned, &lines)
		}
		device := r.key == parameters || r.key == overlays
		switch {
		case r.key == "" && (sectioned || strings.TrimSpace(r.text) != ""),
			c.fixed(r.key), r.key != "" && !c.owns(r.key), device && tree, r.key != "" && !device && unchanged(r.key):
			lines = append(lines, r.text)
			placed[r.key] = true
		case r.key == "", r.key == overlays, device && sectioned, last[r.key] != i:
		default:
			put(r.key)
		}
	}
	if end == len(list) {
		c.appendNew(want, placed, put, sectioned, &lines)
	}
	return joined(lines)
}

// appendNew puts what has no place yet: keys that are new, then the device tree.
func (configTxt) appendNew(want keys, placed map[string]bool, put func(key string), sectioned bool, lines *[]string) {
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if !placed[key] && key != parameters && key != overlays {
			put(key)
		}
	}
	if placed[parameters] && placed[overlays] {
		return
	}
	if sectioned && len(want[parameters]) > 0 {
		*lines = append(*lines, overlays+"=") // ends the overlay of a section above
	}
	if !placed[parameters] {
		put(parameters)
	}
	put(overlays)
}

// written are the lines of an entry.
func written(key, entry string) []string {
	if key != overlays {
		return []string{key + "=" + entry}
	}
	parts := strings.Split(entry, ",")
	head, lines := parts[0], []string{}
	for _, p := range parts[1:] {
		if isBase(p) {
			head += "," + p
		} else {
			lines = append(lines, parameters+"="+p)
		}
	}
	return append([]string{overlays + "=" + head}, lines...)
}
