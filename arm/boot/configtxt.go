package boot

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// config.txt of a Raspberry Pi (spec/cloud.md 6.7).
//
// Managed are the lines outside of conditional sections, that is above the first [filter] and below an
// [all], that are `key=value` or `initramfs value`, but for the keys that may not be changed. A file
// without sections is written as the specification says: a line for each value in the order that the
// keys have, keys that are new after them, then the device tree: parameters of the base, and the
// overlays, each followed by its parameters; blank lines go. All other lines stay where they are, word
// for word: comments, sections with all that is in them, keys that may not be changed, and what is no
// assignment. In a file with sections the lines of keys whose values do not change stay as well, since
// what comes before and after a section matters; what is new goes to the end of the last part that is no
// conditional section.

const (
	overlays   = "dtoverlay"
	parameters = "dtparam"
	finOverlay = "balena-fin"
)

// baseParameters are those of the base, whatever overlay was opened before.
var baseParameters = []string{"audio", "spi", "i2c", "i2c_arm", "i2c_vc", "i2c_baudrate", "i2c_arm_baudrate", "i2c_vc_baudrate"}

// fixedKeys may not be changed: with most of them a device does not start, or not this system.
var fixedKeys = []string{"disable_commandline_tags", "cmdline", "kernel", "kernel_address", "kernel_old", "ramfsfile", "ramfsaddr",
	"initramfs", "device_tree_address", "init_emmc_clock", "avoid_safe_mode"}

// lists are the keys that may come more than once.
var lists = []string{parameters, overlays, "device_tree_param", "device_tree_overlay", "gpio"}

func isBase(parameter string) bool { return slices.Contains(baseParameters, head(parameter, "=")) }

// row is a line of the file. One that is not managed has no key.
type row struct{ text, key, value string }

// scan reads lines, and tells whether there are sections and how many lines there are up to the end of
// the last part that is no conditional section.
func scan(text string) (list []row, sectioned bool, end int) {
	conditional := false
	for i, line := range rows(text) {
		// Variables are text, so what is none counts as they would say it.
		bare := strings.TrimSpace(strings.ToValidUTF8(line, "\uFFFD"))
		key, value, found := strings.Cut(bare, "=")
		if rest, ok := strings.CutPrefix(bare, "initramfs "); ok {
			key, value, found = "initramfs", rest, true
		}
		switch {
		case strings.HasPrefix(bare, "["):
			sectioned, conditional = true, !strings.EqualFold(head(bare[1:], "]"), "all")
			key = ""
		case conditional, !found, strings.HasPrefix(bare, "#"):
			key = ""
		}
		list = append(list, row{line, strings.TrimSpace(key), strings.TrimSpace(value)})
		if !conditional {
			end = i + 1
		}
	}
	return list, sectioned, end
}

// split is a list with commas, without what is empty.
func split(text string) (list []string) {
	for _, item := range strings.Split(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}

func parseConfig(text string) keys {
	k := make(keys)
	open := false // there is an overlay that parameters are of
	list, _, _ := scan(text)
	for i := range list {
		switch key, value := list[i].key, list[i].value; {
		case key == "":
		case key == parameters:
			for _, p := range split(value) {
				if last := len(k[overlays]) - 1; open && !isBase(p) {
					k[overlays][last] += "," + p
				} else {
					k[parameters] = append(k[parameters], p)
				}
			}
		case slices.Contains(lists, key):
			open = open && key != overlays
			for _, e := range entry(key, value) {
				k[key], open = append(k[key], e), open || key == overlays
			}
		default:
			k[key] = []string{value}
		}
	}
	if list := lastOfEach(k[parameters]); list != nil {
		k[parameters] = list
	}
	return k
}

// entry is what an entry of a list says: the parameters of the base one by one; an overlay with its
// parameters, of which those that have a name of the base come first, since they can only be written
// into the line of the overlay itself; or any other text that is not empty.
func entry(key, text string) []string {
	switch parts := split(text); {
	case key == parameters:
		return parts
	case len(parts) == 0:
		return nil
	case key != overlays:
		return []string{text}
	default:
		name, rest := parts[0], ""
		for _, p := range parts[1:] {
			if isBase(p) {
				name += "," + p
			} else {
				rest += "," + p
			}
		}
		return []string{name + rest}
	}
}

// lastOfEach is a list of parameters of which the last of a name counts.
func lastOfEach(list []string) (kept []string) {
	for i, p := range list {
		later := slices.ContainsFunc(list[i+1:], func(q string) bool { return head(q, "=") == head(p, "=") })
		if !later {
			kept = append(kept, p)
		}
	}
	return kept
}

// entriesOf reads the text of a variable.
func entriesOf(key, text string) (list []string, err error) {
	text = strings.TrimSpace(text)
	all := []string{text}
	if !slices.Contains(lists, key) {
		return all, nil
	}
	if strings.HasPrefix(text, `"`) && json.Unmarshal([]byte("["+text+"]"), &all) != nil {
		return nil, errors.New("not a list of quoted values")
	}
	for _, text := range all {
		list = append(list, entry(key, strings.TrimSpace(text))...)
	}
	if key == parameters {
		list = lastOfEach(list)
	}
	return list, nil
}

// variable is the text of a variable.
func variable(key string, entries []string) string {
	if !slices.Contains(lists, key) {
		return entries[0]
	}
	text, _ := json.Marshal(entries) // texts always encode
	return string(text[1 : len(text)-1])
}

func (f *textFile) renderConfig(text string, want keys) string {
	list, sectioned, end := scan(text)
	have, stays, last := parseConfig(text), make(map[string]bool), make(map[string]int)
	for i := range list {
		key := list[i].key
		stays[key] = f.fixed(key) || f.own(key) == "" && key != "" || sectioned && same(key, have, want)
		last[key] = i
	}
	tree := sectioned && same(parameters, have, want) && same(overlays, have, want) // they share their lines
	stays[parameters], stays[overlays], stays[""] = tree, tree, sectioned
	var lines []string
	put := func(key string) {
		for _, e := range want[key] {
			lines = append(lines, key+"="+e)
		}
	}
	for i := range list[:end] {
		switch r := &list[i]; {
		case stays[r.key], r.key == "" && strings.TrimSpace(r.text) != "":
			lines = append(lines, r.text)
		case last[r.key] == i && r.key != parameters && r.key != overlays:
			put(r.key)
		}
	}
	var fresh []string
	for key := range want {
		if _, known := last[key]; !known && key != parameters && key != overlays {
			fresh = append(fresh, key)
		}
	}
	slices.Sort(fresh)
	for _, key := range fresh {
		put(key)
	}
	if !tree {
		if sectioned && want[parameters] != nil {
			lines = append(lines, overlays+"=") // ends the overlay of a section above
		}
		put(parameters)
		for _, e := range want[overlays] {
			lines = append(lines, overlayLines(e)...)
		}
	}
	for i := range list[end:] {
		lines = append(lines, list[end+i].text)
	}
	return joined(lines)
}

// overlayLines are the line of an overlay and those of its parameters.
func overlayLines(entry string) []string {
	lines := []string{""}
	for i, p := range strings.Split(entry, ",") {
		switch {
		case i == 0:
			lines[0] = overlays + "=" + p
		case isBase(p):
			lines[0] += "," + p
		default:
			lines = append(lines, parameters+"="+p)
		}
	}
	return lines
}
