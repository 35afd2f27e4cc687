package target

// keyForm is a rule for the keys of an object (docs/spec/cloud.md 3.5).
type keyForm struct {
	what string // its name in a problem line
	fits func(string) bool
}

// The forms of keys. They are functions, because a package variable could be changed.
func configKey() keyForm        { return keyForm{"config variable name", isConfigKey} }
func variableKey() keyForm      { return keyForm{"environment variable name", isVariable} }
func labelKey() keyForm         { return keyForm{"label name", isLabel} }
func objectKey() keyForm        { return keyForm{"name of letters, digits, '_', '.' and '-'", isName} }
func idKey() keyForm            { return keyForm{"numeric id", isCanonical} }
func documentKey() keyForm      { return keyForm{"key of 1 to 255 characters", isDocumentKey} }
func isCanonical(s string) bool { _, ok := canonical(s); return ok }

// isDocumentKey is the rule for uuids and commits.
func isDocumentKey(s string) bool { return s != "" && !isLongerThan(s, maxText) }

// isName is ^[a-zA-Z0-9][a-zA-Z0-9_.-]*$, for services, volumes and networks.
func isName(s string) bool {
	return isDocumentKey(s) && isAlnum(s[0]) && allOf(s, isNameByte)
}

// isVariable is ^[a-zA-Z_][a-zA-Z0-9_.]*$.
func isVariable(s string) bool {
	return isDocumentKey(s) && (isLetter(s[0]) || s[0] == '_') && allOf(s, isVariableByte)
}

// isConfigKey is ^[a-zA-Z_][a-zA-Z0-9_:]*$.
func isConfigKey(s string) bool {
	return isDocumentKey(s) && (isLetter(s[0]) || s[0] == '_') && allOf(s, isConfigByte)
}

// isLabel is 1 to 255 printable ASCII characters without space, quotes and backtick.
func isLabel(s string) bool { return isDocumentKey(s) && allOf(s, isLabelByte) }

func isVariableByte(c byte) bool { return isAlnum(c) || c == '_' || c == '.' }

func isConfigByte(c byte) bool { return isAlnum(c) || c == '_' || c == ':' }

func isLabelByte(c byte) bool {
	return c > ' ' && c < 0x7f && c != '"' && c != '\'' && c != '`'
}

// isLongerThan reports whether a text has more than limit UTF-16 units, in which the cloud counts.
func isLongerThan(s string, limit int) bool {
	units := 0
	for _, r := range s {
		if units++; r > 0xffff {
			units++
		}
	}
	return units > limit
}
