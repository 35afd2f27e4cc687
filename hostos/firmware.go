package hostos

import (
	"encoding/json"
	"errors"
	"fmt"
)

// NoteFirmwareVolume sets os.kernel.extraFirmwareVol of config.json, by which the host finds the
// volume that services keep extra firmware in (docs/spec/engine.md 3.1). Everything else stays as it is,
// and the file is not written when it says so already. After an error nothing has changed.
func (c *Config) NoteFirmwareVolume(volume string) error {
	c.editing.Lock()
	defer c.editing.Unlock()
	doc, settings, err := c.read()
	if err != nil {
		return err
	}
	c.found(settings)
	value, err := json.Marshal(volume)
	if err != nil {
		return err
	}
	host, changed, err := nest(doc["os"], value, "kernel", "extraFirmwareVol")
	if err != nil {
		return fmt.Errorf("change %s: os: %w", c.path, err)
	}
	if !changed {
		return nil
	}
	doc["os"] = host
	_, err = c.write(doc) // none of the settings is in there
	return err
}

// nest returns the object with the value set at a path of keys, and whether that changed it. Objects
// on the way that are missing are made; anything else that is in the way is an error.
func nest(object, value json.RawMessage, path ...string) (json.RawMessage, bool, error) {
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
	inner, changed, err := nest(members[path[0]], value, path[1:]...)
	if err != nil {
		return nil, false, fmt.Errorf("%s: %w", path[0], err)
	}
	members[path[0]] = inner
	whole, err := json.Marshal(members)
	return whole, changed, err
}
