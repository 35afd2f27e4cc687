package hostos

import (
	"encoding/json"
	"fmt"
)

// powerKeys are the variables of power mode and fan profile, and their two keys below os in config.json.
var powerKeys = [...][3]string{{"power_mode", "power", "mode"}, {"fan_profile", "fan", "profile"}}

// Power returns os.power.mode and os.fan.profile of the file, as power_mode and fan_profile (docs/spec/cloud.md 1.2).
// They are settings of a Jetson Orin. Missing ones are omitted, and so is an empty mode.
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
	_ = json.Unmarshal(doc["os"], &host) // other keys below os may have other types
	have := make(map[string]string)
	for i := range powerKeys {
		p := &powerKeys[i]
		if text := host[p[1]][p[2]]; text != nil && (*text != "" || p[1] == "fan") {
			have[p[0]] = *text
		}
	}
	return have, nil
}

// SetPower sets or removes os.power and os.fan, in one write. All other keys stay unchanged. After an error the file
// is unchanged.
func (c *Config) SetPower(want map[string]string) error {
	return c.edit(func(Settings) map[string]any {
		doc, _, err := c.read() // edit passes only the settings
		members := doc.members("os")
		if err != nil || members == nil {
			return nil
		}
		for i := range powerKeys {
			p := &powerKeys[i]
			delete(members, p[1])
			if text, set := want[p[0]]; set {
				members[p[1]], _ = json.Marshal(map[string]string{p[2]: text}) // cannot fail
			}
		}
		return map[string]any{"os": members}
	})
}

// members returns the members of an object in the document: an empty map if the key is missing, nil if the value is
// not an object.
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
