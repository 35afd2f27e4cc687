package target

import (
	"encoding/json"
	"strconv"
	"strings"
)

// Bounds of what a document may make us say: a hostile or broken one must not flood logs.
const (
	maxLines = 32  // problems named for one app
	maxGot   = 160 // bytes of an offending value that are shown
)

// Problem is one thing that is wrong with one app of a document. App is the app's key in the
// document (its uuid, or its id in the older shapes), empty for the document itself.
type Problem struct {
	App  string
	Text string
}

// InvalidError says that a whole document breaks the rules and nothing of it may be used. Lines
// holds one problem each, for the user (docs/spec/device-api.md 2.31, docs/spec/cloud.md 3.7).
type InvalidError struct {
	Lines []string
}

// Error is the message of the device API.
func (e *InvalidError) Error() string {
	return "Invalid target state.\n" + strings.Join(e.Lines, "\n")
}

// check collects what is wrong below one part of a document.
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

// count is how many problems came up so far.
func (c *check) count() int { return len(c.lines) + c.more }

// all lists the problems, with one last line for those that were left out.
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

// expecting is the line for a value that is not what it has to be.
func expecting(what, path, got string) string {
	return "Expecting " + what + " at " + path + " but instead got: " + got
}

// show is an offending value as JSON, cut to a length that fits a line. Of a list or an object nothing is shown but
// that it is one: there may be secrets in it.
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
	case len(text) > maxGot:
		return strings.ToValidUTF8(text[:maxGot], "") + "..."
	}
	return text
}

// kind says of a secret what it is.
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
