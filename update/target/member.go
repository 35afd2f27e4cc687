package target

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// maxDocument limits the bytes of a document, and maxDepth the levels of one app. Real ones are far smaller.
const (
	maxDocument = 16 << 20
	maxDepth    = 64
)

// member is one name and value of an object.
type member struct {
	key string
	raw json.RawMessage
}

// members splits an object in the order of the document. A map would lose it, but the first release counts, and the
// first app is pinned. If a name comes twice, its last value counts.
func members(raw []byte) ([]member, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if start, err := dec.Token(); err != nil || start != json.Delim('{') {
		return nil, errors.New("not an object")
	}
	var list []member
	at := map[string]int{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, err
		}
		m := member{key: token.(string)} // the names of an object are strings
		if err := dec.Decode(&m.raw); err != nil {
			return nil, err
		}
		if i, twice := at[m.key]; twice {
			list[i].raw = m.raw
			continue
		}
		at[m.key] = len(list)
		list = append(list, m)
	}
	return list, nil
}

// find returns the value of a member, nil when there is none.
func find(list []member, key string) json.RawMessage {
	for _, m := range list {
		if m.key == key {
			return m.raw
		}
	}
	return nil
}

// parse checks that a body is one JSON value and not too large.
func parse(body []byte) (json.RawMessage, error) {
	if len(body) > maxDocument {
		return nil, fmt.Errorf("target state of %d bytes is too large", len(body))
	}
	var raw json.RawMessage
	err := json.Unmarshal(body, &raw)
	if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
		read := body[:max(syntax.Offset-1, 0)]
		return nil, fmt.Errorf("line %d, column %d: %w", 1+bytes.Count(read, []byte{'\n'}), len(read)-bytes.LastIndexByte(read, '\n'), err)
	}
	if err != nil {
		return nil, fmt.Errorf("parse target state: %w", err)
	}
	return bytes.TrimSpace(raw), nil
}

// treeOf decodes the value at path into the types of Map.
func treeOf(c *check, path string, raw []byte) node {
	if raw == nil {
		return node{check: c, path: path}
	}
	var value any
	// The syntax of the document was checked before. Only a number beyond float64 can fail.
	if err := json.Unmarshal(raw, &value); err != nil {
		c.add("A number below " + path + " is too large")
		return node{check: c, path: path}
	}
	return rootOf(c, path, value)
}
