package boot

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// config.txt of a Raspberry Pi (docs/spec/cloud.md 6.7).
//
// The agent manages lines `key=value` and `initramfs value` outside of conditional sections, that is above the first
// [filter] and below an [all], except for the fixed keys. All other lines stay where they are, word for word: comments,
// sections with their content, fixed keys, and lines that are no assignment.
//
// A file without sections is written as the specification says. Each value has a line, in the order of the keys in the
// file. New keys follow. Then comes the device tree: parameters of the base, and the overlays, each followed by its
// parameters. Blank lines are removed. In a file with sections the lines of unchanged keys stay too, because the order
// around a section matters. New lines are added at the end of the last part that is not conditional.

const (
	overlays   = "dtoverlay"
	parameters = "dtparam"
	finOverlay = "balena-fin"
)

// baseParameters lists the parameters of the base, which never belong to an overlay above them.
var baseParameters = []string{"audio", "spi", "i2c", "i2c_arm", "i2c_vc", "i2c_baudrate", "i2c_arm_baudrate", "i2c_vc_baudrate"}

// fixedKeys must not be changed: most of them can keep the device, or this system, from starting.
var fixedKeys = []string{"disable_commandline_tags", "cmdline", "kernel", "kernel_address", "kernel_old", "ramfsfile", "ramfsaddr",
	"initramfs", "device_tree_address", "init_emmc_clock", "avoid_safe_mode"}

// keyCharacters lists the characters of a variable's name. A line whose key has others, such as a comment, is no
// assignment, because no variable could name it.
const keyCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:"

// lists holds the keys that may have several lines.
var lists = []string{parameters, overlays, "device_tree_param", "device_tree_overlay", "gpio"}

func isList(key string) bool { return slices.Contains(lists, key) }

func isBase(parameter string) bool { return slices.Contains(baseParameters, head(parameter, "=")) }

// configLine is a line of the file. A line that is not managed has no key.
type configLine struct {
	text, key, value string
}

// parseLines reads the lines of the file. sectioned says that the file has sections. end is the number of lines up to
// the end of the last part that is not conditional.
func parseLines(text string) (list []configLine, sectioned bool, end int) {
	conditional := false
	for i, line := range splitLines(text) {
		// Variables are UTF-8, so other bytes are compared in the form that a variable can have.
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
		list = append(list, configLine{text: line, key: key, value: strings.TrimSpace(value)})
		if !conditional {
			end = i + 1
		}
	}
	return list, sectioned, end
}

// splitList splits at commas and drops empty items.
func splitList(text string) (list []string) {
	for _, item := range strings.Split(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}

func parseConfig(text string) keys {
	k := make(keys)
	open := false // parameters belong to an overlay above
	list, _, _ := parseLines(text)
	for i := range list {
		switch key, value := list[i].key, list[i].value; {
		case key == "":
		case key == parameters:
			for _, p := range splitList(value) {
				if open && !isBase(p) {
					k[overlays] = strings.TrimSuffix(k[overlays], "\n") + "," + p + "\n"
				} else {
					k.add(key, p)
				}
			}
		case isList(key):
			k.add(key, value)
			if key == overlays {
				open = overlayEntry(value) != ""
			}
		default:
			k[key] = value
		}
	}
	return k
}

// add adds an entry to a list: an overlay, parameters of the base, or any other text that is not empty. Of parameters
// with the same name the last counts.
func (k keys) add(key, text string) {
	if key == parameters {
		for _, p := range splitList(text) {
			kept := ""
			for _, q := range splitLines(k[key]) {
				if head(q, "=") != head(p, "=") {
					kept += q + "\n"
				}
			}
			k[key] = kept + p + "\n"
		}
		return
	}
	if text = strings.TrimSpace(text); key == overlays {
		text = overlayEntry(text)
	}
	if text != "" {
		k[key] += text + "\n"
	}
}

// overlayEntry is the entry of an overlay: its name and parameters. Parameters with the name of a base parameter come
// first, because only the line of the overlay itself can hold them.
func overlayEntry(text string) string {
	name, rest := "", ""
	for _, p := range splitList(text) {
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

// set parses the text of a variable.
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
			return errors.New("an entry has more than one line")
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
	text, _ := json.Marshal(splitLines(k[key])) // texts always encode
	return string(text[1 : len(text)-1])
}

func (f *textFile) renderConfig(text string, want keys) string {
	list, sectioned, end := parseLines(text)
	have := parseConfig(text)
	tree := sectioned && f.equalKey(parameters, have, want) && f.equalKey(overlays, have, want) // both keys share their lines
	out := ""
	for i := range list[:end] {
		r := &list[i]
		stays := sectioned && f.equalKey(r.key, have, want) || f.isFixed(r.key) || f.canonicalKey(r.key) == ""
		switch {
		case r.key == parameters || r.key == overlays:
			stays = tree
		case r.key == "":
			stays = sectioned || strings.TrimSpace(r.text) != ""
		case !stays && !slices.ContainsFunc(list[i+1:end], func(later configLine) bool { return later.key == r.key }):
			out += want.lines(r.key)
		}
		if stays {
			out += r.text + "\n"
		}
	}
	var fresh []string
	for key := range want {
		known := slices.ContainsFunc(list, func(r configLine) bool { return r.key == key })
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
			out += overlays + "=\n" // ends an overlay from a section above
		}
		out += want.lines(parameters) + want.lines(overlays)
	}
	for i := range list[end:] {
		out += list[end+i].text + "\n"
	}
	return out
}

// lines is the text of all lines of a key, for an overlay with those of its parameters.
func (k keys) lines(key string) (out string) {
	entries, wanted := k[key]
	if !wanted {
		return ""
	}
	if !isList(key) {
		return key + "=" + entries + "\n"
	}
	for _, e := range splitLines(entries) {
		if key != overlays {
			out += key + "=" + e + "\n"
			continue
		}
		name, rest := "", ""
		for _, p := range splitList(e) {
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
