package hostos

import (
	"encoding/json"
	"fmt"
)

// powerParts are the variables of power mode and fan profile, and where in os the host looks for them.
var powerParts = [...][3]string{{"power_mode", "power", "mode"}, {"fan_profile", "fan", "profile"}}

// Power is what the file says to the host of an Orin under os.power.mode and os.fan.profile, as
// power_mode and fan_profile (docs/spec/cloud.md 1.2); what it says nothing of is not there. A profile may
// be empty, a mode not.
func (c *Config) Power() (map[string]string, error) {
	c.editing.Lock()
	defer c.editing.Unlock()
	doc, _, err := c.read()
	if err != nil {
		return nil, err
	}
	if doc.members("os") == nil {
		return nil, fmt.Errorf("read %s: os is not an object", c.path)
	}
	var host map[string]map[string]*string
	_ = json.Unmarshal(doc["os"], &host) // what is no text is none of ours
	have := make(map[string]string)
	for i := range powerParts {
		p := &powerParts[i]
		if text := host[p[1]][p[2]]; text != nil && (*text != "" || p[1] == "fan") {
			have[p[0]] = *text
		}
	}
	return have, nil
}

// SetPower makes the file say what Power is to tell, in one write: os.power and os.fan are set or removed.
// Everything else stays as it is, and after an error nothing has changed.
func (c *Config) SetPower(want map[string]string) error {
	return c.edit(func(Settings) map[string]any {
		doc, _, err := c.read() // as it was just read
		members := doc.members("os")
		if err != nil || members == nil {
			return nil
		}
		for i := range powerParts {
			p := &powerParts[i]
			delete(members, p[1])
			if text, set := want[p[0]]; set {
				members[p[1]], _ = json.Marshal(map[string]string{p[2]: text}) // texts always encode
			}
		}
		return map[string]any{"os": members}
	})
}

// members are those of an object in the document, none when there is no object, nil when there is
// something else.
func (d document) members(key string) map[string]json.RawMessage {
	members := make(map[string]json.RawMessage)
	if raw, present := d[key]; present && json.Unmarshal(raw, &members) != nil {
		return nil
	}
	if members == nil { // null
		return make(map[string]json.RawMessage)
	}
	return members
}
