package target

import (
	"encoding/json"
	"strconv"
	"strings"
)

// Limits of problem lines, so that a hostile or broken document does not flood logs.
const (
	maxLines = 32  // lines for one app
	maxShown = 160 // bytes shown of a wrong value
)

// Problem is one fault of one app of a document. App is the app's key in the document (the uuid, or the id in older
// shapes), empty for the document itself.
type Problem struct {
	App  string
	Text string
}

// InvalidError says that a document breaks the rules and is not used at all. Each of Lines is one problem, for the user
// (docs/spec/device-api.md 2.31, docs/spec/cloud.md 3.7).
type InvalidError struct {
	Lines []string
}

// Error is the message of the device API.
func (e *InvalidError) Error() string {
	return "Invalid target state.\n" + strings.Join(e.Lines, "\n")
}

// check collects the problems of one part of a document.
type check struct {
	lines []string
	more  int // problems beyond maxLines
}

func (c *check) add(line string) {
	if len(c.lines) == maxLines {
		c.more++
		return
	}
	c.lines = append(c.lines, line)
}

// count is the number of problems so far.
func (c *check) count() int { return len(c.lines) + c.more }

// all lists the problems. Its last line counts those beyond the limit.
func (c *check) all() []string {
	if c.more == 0 {
		return c.lines
	}
	return append(c.lines[:len(c.lines):len(c.lines)], "And "+strconv.Itoa(c.more)+" more")
}

// invalid is the error for the collected problems, nil when there are none.
func (c *check) invalid() error {
	if c.count() == 0 {
		return nil
	}
	return &InvalidError{Lines: c.all()}
}

// expectingLine is the line for a wrong value.
func expectingLine(what, path, got string) string {
	return "Expecting " + what + " at " + path + " but instead got: " + got
}

// show is a wrong value as JSON, cut to the length of a line. It hides the content of lists and objects, which may hold
// secrets.
func show(value any) string {
	raw, err := json.Marshal(value)
	if err != nil {
		return "a value that is not JSON"
	}
	return showRaw(raw)
}

// showRaw is show for JSON without white space around it.
func showRaw(raw []byte) string {
	text := string(raw)
	switch {
	case len(text) > 2 && text[0] == '[':
		return "[...]"
	case len(text) > 2 && text[0] == '{':
		return "{...}"
	case len(text) > maxShown:
		return strings.ToValidUTF8(text[:maxShown], "") + "..."
	}
	return text
}

// kind is the type of a secret value, in words.
func kind(value any) string {
	switch value.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case float64:
		return "a number"
	case string:
		return "a string"
	case []any:
		return "a list"
	}
	return "an object"
}
