package boot

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// config.txt of a Raspberry Pi (docs/spec/cloud.md 6.7).
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

// keyCharacters are those that the name of a variable may have. A line whose key has others, such as a
// comment, is no assignment: nothing could be said of it.
const keyCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:"

// lists are the keys that may come more than once.
var lists = []string{parameters, overlays, "device_tree_param", "device_tree_overlay", "gpio"}

func isList(key string) bool { return slices.Contains(lists, key) }

func isBase(parameter string) bool { return slices.Contains(baseParameters, head(parameter, "=")) }

// row is a line of the file. One that is not managed has no key.
type row struct {
	_ [0]func() // nobody compares it: no code for that

	text, key, value string
}

// scan reads lines, and tells whether there are sections and how many lines there are up to the end of
// the last part that is no conditional section.
func scan(text string) (list []row, sectioned bool, end int) {
	conditional := false
	for i, line := range rows(text) {
		// Variables are text, so what is none counts as they would say it.
		bare := strings.TrimSpace(strings.ToValidUTF8(line, "\uFFFD"))
		key, value, found := strings.Cut(bare, "=")
		key = strings.TrimSpace(key)
		if rest, ok := strings.CutPrefix(bare, "initramfs "); ok {
			key, value, found = "initramfs", rest, true
		}
		switch {
		case strings.HasPrefix(bare, "["):
			sectioned, conditional = true, !strings.EqualFold(head(bare[1:], "]"), "all")
			key = ""
		case conditional, !found, strings.Trim(key, keyCharacters) != "":
			key = ""
		}
		list = append(list, row{text: line, key: key, value: strings.TrimSpace(value)})
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
				if open && !isBase(p) {
					k[overlays] = strings.TrimSuffix(k[overlays], "\n") + "," + p + "\n"
				} else {
					k.add(key, p)
				}
			}
		case isList(key):
			k.add(key, value)
			if key == overlays {
				open = overlay(value) != ""
			}
		default:
			k[key] = value
		}
	}
	return k
}

// add adds an entry to a list: an overlay, the parameters of the base, of which the last of a name counts,
// or any other text that is not empty.
func (k keys) add(key, text string) {
	if key == parameters {
		for _, p := range split(text) {
			kept := ""
			for _, q := range rows(k[key]) {
				if head(q, "=") != head(p, "=") {
					kept += q + "\n"
				}
			}
			k[key] = kept + p + "\n"
		}
		return
	}
	if text = strings.TrimSpace(text); key == overlays {
		text = overlay(text)
	}
	if text != "" {
		k[key] += text + "\n"
	}
}

// overlay is the entry of an overlay: its name and parameters, of which those that have a name of the
// base come first, since they can only be written into the line of the overlay itself.
func overlay(text string) string {
	name, rest := "", ""
	for _, p := range split(text) {
		switch {
		case name == "":
			name = p
		case isBase(p):
			name += "," + p
		default:
			rest += "," + p
		}
	}
	return name + rest
}

// set reads the text of a variable.
func (k keys) set(key, text string) error {
	text = strings.TrimSpace(text)
	if !isList(key) {
		k[key] = text
		return nil
	}
	all := []string{text}
	if strings.HasPrefix(text, `"`) && json.Unmarshal([]byte("["+text+"]"), &all) != nil {
		return errors.New("not a list of quoted values")
	}
	for _, text := range all {
		if strings.Contains(text, "\n") {
			return errors.New("an entry of more than one line")
		}
		k.add(key, text)
	}
	return nil
}

// variable is the text of a variable.
func (k keys) variable(key string) string {
	if !isList(key) {
		return k[key]
	}
	text, _ := json.Marshal(rows(k[key])) // texts always encode
	return string(text[1 : len(text)-1])
}

func (f *textFile) renderConfig(text string, want keys) string {
	list, sectioned, end := scan(text)
	have := parseConfig(text)
	tree := sectioned && f.same(parameters, have, want) && f.same(overlays, have, want) // they share their lines
	out := ""
	for i := range list[:end] {
		r := &list[i]
		stays := sectioned && f.same(r.key, have, want) || f.fixed(r.key) || f.own(r.key) == ""
		switch {
		case r.key == parameters || r.key == overlays:
			stays = tree
		case r.key == "":
			stays = sectioned || strings.TrimSpace(r.text) != ""
		case !stays && !slices.ContainsFunc(list[i+1:end], func(later row) bool { return later.key == r.key }):
			out += want.lines(r.key)
		}
		if stays {
			out += r.text + "\n"
		}
	}
	var fresh []string
	for key := range want {
		known := slices.ContainsFunc(list, func(r row) bool { return r.key == key })
		if !known && key != parameters && key != overlays {
			fresh = append(fresh, key)
		}
	}
	slices.Sort(fresh)
	for _, key := range fresh {
		out += want.lines(key)
	}
	if !tree {
		if sectioned && want[parameters] != "" {
			out += overlays + "=\n" // ends the overlay of a section above
		}
		out += want.lines(parameters) + want.lines(overlays)
	}
	for i := range list[end:] {
		out += list[end+i].text + "\n"
	}
	return out
}

// lines are those that say what is wanted of a key, of an overlay also those of its parameters.
func (k keys) lines(key string) (out string) {
	entries, wanted := k[key]
	if !wanted {
		return ""
	}
	if !isList(key) {
		return key + "=" + entries + "\n"
	}
	for _, e := range rows(entries) {
		if key != overlays {
			out += key + "=" + e + "\n"
			continue
		}
		name, rest := "", ""
		for _, p := range split(e) {
			switch {
			case name == "":
				name = overlays + "=" + p
			case isBase(p):
				name += "," + p
			default:
				rest += parameters + "=" + p + "\n"
			}
		}
		out += name + "\n" + rest
	}
	return out
}
