package hostos

import (
	"encoding/json"
	"errors"
	"fmt"
)

// NoteFirmwareVolume sets os.kernel.extraFirmwareVol of config.json. The host reads there which volume holds extra
// firmware of services (docs/spec/engine.md 3.1). All other keys stay unchanged. The file is not written if the value
// is already set, and is unchanged after an error.
func (c *Config) NoteFirmwareVolume(volume string) error {
	c.editing.Lock()
	defer c.editing.Unlock()
	doc, settings, err := c.read()
	if err != nil {
		return err
	}
	c.adoptForeign(settings)
	value, err := json.Marshal(volume)
	if err != nil {
		return err
	}
	host, changed, err := setNested(doc["os"], value, "kernel", "extraFirmwareVol")
	if err != nil {
		return fmt.Errorf("change %s: os: %w", c.path, err)
	}
	if !changed {
		return nil
	}
	doc["os"] = host
	_, err = c.write(doc) // the settings do not include os
	return err
}

// setNested returns the object with the value set at a path of keys, and whether that changed the object. It makes
// missing objects on the path. Any other value on the path is an error.
func setNested(object, value json.RawMessage, path ...string) (json.RawMessage, bool, error) {
	if len(path) == 0 {
		same := object != nil && (string(object) == string(value) || sameText(object, value))
		return value, !same, nil
	}
	members := make(map[string]json.RawMessage)
	if object != nil && json.Unmarshal(object, &members) != nil {
		return nil, false, errors.New("not an object")
	}
	if members == nil { // null
		members = make(map[string]json.RawMessage)
	}
	inner, changed, err := setNested(members[path[0]], value, path[1:]...)
	if err != nil {
		return nil, false, fmt.Errorf("%s: %w", path[0], err)
	}
	members[path[0]] = inner
	whole, err := json.Marshal(members)
	return whole, changed, err
}
