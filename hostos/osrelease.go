package hostos

import (
	"strings"

	"resin-supervisor/hostos/file"
)

// OSRelease holds the variables of an os-release file, such as PRETTY_NAME, VARIANT_ID, ID and VERSION.
type OSRelease map[string]string

// ReadOSRelease reads the host's os-release file. The error wraps the system error.
func ReadOSRelease(path string) (OSRelease, error) {
	data, err := file.Read(path, file.Small)
	if err != nil {
		return nil, err // names operation and path
	}
	return parseOSRelease(string(data)), nil
}

// Variant returns the OS variant to report: VARIANT_ID, else dev or prod (docs/spec/cloud.md 4.3).
func (r OSRelease) Variant(development bool) string {
	if id := r["VARIANT_ID"]; id != "" {
		return id
	}
	if development {
		return "dev"
	}
	return "prod"
}

// BoardRevision returns the revision of the host OS for the board, empty when it is not set
// (docs/spec/engine.md 2.7).
func (r OSRelease) BoardRevision() string {
	if rev := r["BALENA_BOARD_REV"]; rev != "" {
		return rev
	}
	return r["RESIN_BOARD_REV"]
}

// Meta returns the version of the Yocto layer that the host OS is built with, such as 2.46.1, empty when it is not
// set.
func (r OSRelease) Meta() string {
	for _, name := range [...]string{"META_BALENA_VERSION", "META_RESIN_VERSION"} {
		if release := r[name]; release != "" {
			return release
		}
	}
	return r["VERSION"]
}

// IsBalenaOS reports whether the host is balenaOS, which gives every device a config.json.
func (r OSRelease) IsBalenaOS() bool {
	return r["ID"] == "balena-os" || r["ID"] == "resin-os" || r["NAME"] == "balenaOS"
}

// parseOSRelease parses shell assignments, one per line. The last assignment of a name wins. It skips invalid lines.
func parseOSRelease(text string) OSRelease {
	release := OSRelease{}
	for line := range strings.Lines(text) {
		name, value, found := strings.Cut(strings.TrimSpace(line), "=")
		if !found || !isVariable(name) {
			continue
		}
		if plain, ok := unquote(value); ok {
			release[name] = plain
		}
	}
	return release
}

func isVariable(name string) bool {
	for i := range len(name) {
		c := name[i]
		letter := c == '_' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
		if !letter && (i == 0 || !isDigit(c)) {
			return false
		}
	}
	return name != ""
}

// unquote removes shell quoting from one word: '...' is literal, "..." and unquoted text may contain backslash
// escapes. A blank outside quotes ends the word.
func unquote(word string) (value string, ok bool) {
	var out strings.Builder
	quote := byte(0)
	for i := 0; i < len(word); i++ {
		c := word[i]
		switch {
		case c == quote:
			quote = 0
		case quote == '\'':
			out.WriteByte(c)
		case c == '\\':
			i++
			if i == len(word) {
				return "", false
			}
			if quote == '"' && !strings.ContainsRune("$`\"\\", rune(word[i])) {
				out.WriteByte('\\')
			}
			out.WriteByte(word[i])
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
		case quote == 0 && (c == ' ' || c == '\t'):
			return out.String(), true
		default:
			out.WriteByte(c)
		}
	}
	return out.String(), quote == 0
}
