package hostos

import (
	"encoding/json"
	"fmt"
)

// Power is what the file says to the host of an Orin of the power mode and the fan profile, os.power.mode
// and os.fan.profile (spec/cloud.md 1.2); empty is nothing.
func (c *Config) Power() (mode, fan string, err error) {
	c.editing.Lock()
	defer c.editing.Unlock()
	doc, _, err := c.read()
	if err != nil {
		return "", "", err
	}
	var host struct {
		Power struct{ Mode string }
		Fan   struct{ Profile string }
	}
	if raw, present := doc["os"]; present {
		err = json.Unmarshal(raw, &host)
	}
	if err != nil {
		return "", "", fmt.Errorf("read %s: os: %w", c.path, err)
	}
	return host.Power.Mode, host.Fan.Profile, nil
}

// SetPower makes the file say of power mode and fan profile what is given, in one write; empty removes
// os.power or os.fan. Everything else stays as it is, and after an error nothing has changed.
func (c *Config) SetPower(mode, fan string) error {
	c.editing.Lock()
	defer c.editing.Unlock()
	doc, settings, err := c.read()
	if err != nil {
		return err
	}
	c.found(settings)
	host := doc["os"]
	for _, part := range [...][3]string{{"power", "mode", mode}, {"fan", "profile", fan}} {
		if host, err = place(host, part[0], part[1], part[2]); err != nil {
			return fmt.Errorf("change %s: os: %w", c.path, err)
		}
	}
	doc["os"] = host
	_, err = c.write(doc) // none of the settings is in there
	return err
}

// place sets the text of a member of a part of an object, or removes the part when the text is empty.
func place(object json.RawMessage, part, member, text string) (json.RawMessage, error) {
	if text != "" {
		value, err := json.Marshal(text)
		if err == nil {
			object, _, err = nest(object, value, part, member)
		}
		return object, err
	}
	members := make(map[string]json.RawMessage)
	if object != nil {
		if err := json.Unmarshal(object, &members); err != nil {
			return nil, err
		}
	}
	delete(members, part)
	if members == nil { // null
		return json.RawMessage("{}"), nil
	}
	return json.Marshal(members)
}
