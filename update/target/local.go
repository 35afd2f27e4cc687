package target

import "encoding/json"

// Local is a target state that a client of the device API posted.
type Local struct {
	State   *State
	HasName bool // without it the device keeps its name
	Force   bool
}

// DecodeLocal reads the body of POST /v2/local/target-state (docs/spec/device-api.md 2.31): the v2 shape
// {"local":{...}}, or a v3 document with the entry of one device with any uuid. Any fault refuses the whole body with an
// *InvalidError. So does a missing entry: as "no apps" it would remove all apps. A body that is not JSON is another
// error.
func DecodeLocal(body []byte) (*Local, error) {
	raw, err := parse(body)
	if err != nil {
		return nil, err
	}
	document, err := members(raw)
	if err != nil {
		return nil, &InvalidError{Lines: []string{expectingLine("object", "the body", showRaw(raw))}}
	}
	r, entry := localReader(document)
	state, problems, err := r.read(entry)
	if err != nil {
		return nil, err
	}
	if len(problems) > 0 {
		return nil, &InvalidError{Lines: texts(problems)}
	}
	fields, _ := members(entry)
	return &Local{
		State:   state,
		HasName: !uncheckedMember(fields, "name").empty(),
		Force:   Truthy(uncheckedMember(document, "force").value),
	}, nil
}

// localReader chooses the reader for the shape of a posted document.
func localReader(document []member) (reader, json.RawMessage) {
	var device []member
	for _, m := range document {
		switch m.key {
		case "local":
			return reader{path: "local", optional: true, app: appV2}, m.raw
		case "force", "dependent":
		default:
			device = append(device, m)
		}
	}
	if len(device) == 1 {
		return reader{path: join("", device[0].key), app: appV3}, device[0].raw
	}
	return reader{path: "local"}, json.RawMessage("undefined")
}

// uncheckedMember is a member whose problems do not count.
func uncheckedMember(list []member, key string) node { return treeOf(&check{}, key, find(list, key)) }

// texts lists the lines for the user, up to the limit of check.
func texts(problems []Problem) []string {
	c := &check{}
	for _, p := range problems {
		c.add(p.Text)
	}
	return c.all()
}
