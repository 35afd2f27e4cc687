package api

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"resin-supervisor/hostos/redsocks"
	"resin-supervisor/update/view"
)

// hostSettings is the answer of GET /v1/device/host-config (docs/spec/device-api.md 2.15).
type hostSettings struct {
	Network hostNetwork `json:"network"`
}

type hostNetwork struct {
	Hostname string     `json:"hostname"`
	Proxy    *hostProxy `json:"proxy,omitempty"`
}

type hostProxy struct {
	Type     string   `json:"type,omitempty"`
	IP       string   `json:"ip,omitempty"`
	Port     int      `json:"port,omitempty"`
	Login    string   `json:"login,omitempty"`
	Password string   `json:"password,omitempty"`
	DNS      string   `json:"dns,omitempty"`
	NoProxy  []string `json:"noProxy,omitempty"`
}

// hostConfig shows the name and the proxy of the host.
func (h *handlers) hostConfig(*call) Answer {
	name, err := h.dev.Hostname()
	if err != nil {
		return actionError(err)
	}
	p, noProxy, err := h.dev.Proxy()
	if err != nil {
		return actionError(err)
	}
	network := hostNetwork{Hostname: name}
	if p != nil {
		network.Proxy = &hostProxy{p.Type, p.IP, p.Port, p.Login, p.Password, p.DNS, noProxy}
	}
	return document(hostSettings{network})
}

// setHostConfig changes the name and the proxy of the host (docs/spec/device-api.md 2.14). All its errors are text.
func (h *handlers) setHostConfig(c *call) Answer {
	network, err := object(c.body["network"])
	if err != nil {
		return refuseHost("Expecting Partial<{ hostname, proxy }> at network but instead got: " + quoted(c.body["network"]))
	}
	name, err := hostnameOf(network)
	if err != nil {
		return refuseHost(err.Error())
	}
	proxy, err := proxyOf(network["proxy"])
	if err != nil {
		return refuseHost(err.Error())
	}
	if name == nil && proxy.IsEmpty() {
		return done()
	}
	if err := h.dev.CheckHost(name, proxy); err != nil {
		return hostError(err)
	}
	force := c.force() || truthy(network["force"])
	err = h.runAction(func(ctx context.Context) error {
		return h.apps.WithAllLocks(ctx, force, func() error { return h.dev.SetHost(name, proxy) })
	})
	if err != nil {
		return hostError(err)
	}
	return done()
}

// refuseHost answers E7 for input that is malformed, or that the host cannot take.
func refuseHost(problem string) Answer {
	return textAnswer(fasthttp.StatusBadRequest, textHostConfig+"\n"+problem)
}

var errShape = errors.New("not an object")

// object decodes a JSON object.
func object(raw json.RawMessage) (fields, error) {
	var f fields
	if json.Unmarshal(raw, &f) != nil || f == nil {
		return nil, errShape
	}
	return f, nil
}

// quoted is a value as an error shows it: shortened, so the answer is not as long as the request.
func quoted(raw json.RawMessage) string {
	const maxBytes = 200
	switch {
	case raw == nil:
		return "undefined"
	case len(raw) > maxBytes:
		return strings.ToValidUTF8(string(raw[:maxBytes]), "") + "..."
	}
	return string(raw)
}

func isNull(raw json.RawMessage) bool { return string(raw) == "null" }

// hostnameOf is the new name: nil to keep the name, empty for the default.
func hostnameOf(network fields) (*string, error) {
	raw, given := network["hostname"]
	if !given {
		return nil, nil
	}
	name := ""
	if json.Unmarshal(raw, &name) != nil { // null leaves it empty
		return nil, expecting("string", "hostname", raw)
	}
	return &name, nil
}

func expecting(what, where string, got json.RawMessage) error {
	return errors.New("Expecting " + what + " at network." + where + " but instead got: " + quoted(got))
}

// proxyOf decodes the change of the proxy. It drops unknown fields, and local_ip and local_port.
func proxyOf(raw json.RawMessage) (redsocks.Change, error) {
	c := redsocks.Change{}
	if raw == nil {
		return c, nil
	}
	if isNull(raw) || string(raw) == `""` {
		c.Clear = true
		return c, nil
	}
	given, err := object(raw)
	if err != nil {
		shape := "{ [K in string]: any }"
		return c, errors.New(expecting(shape, "proxy.0", raw).Error() + "\n" + expecting(shape, "proxy.1", raw).Error())
	}
	if len(given) == 0 {
		c.Clear = true
		return c, nil
	}
	if c.DNS, err = dnsOf(given); err != nil {
		return c, err
	}
	for _, field := range [...]struct {
		name string
		to   **string
	}{{"type", &c.Type}, {"ip", &c.IP}, {"login", &c.Login}, {"password", &c.Password}} {
		if *field.to, err = textOf(given, field.name); err != nil {
			return c, err
		}
	}
	if c.Port, err = portOf(given); err != nil {
		return c, err
	}
	c.NoProxy, err = noProxyOf(given["noProxy"])
	return c, err
}

// dnsOf decodes the DNS server: true is the default, false and null are none.
func dnsOf(given fields) (*string, error) {
	raw, ok := given["dns"]
	if !ok {
		return nil, nil
	}
	dns := ""
	switch v := value(raw).(type) {
	case bool:
		if v {
			dns = redsocks.DefaultDNS
		}
		return &dns, nil
	case string:
		if redsocks.IsDNS(v) {
			return &v, nil
		}
	case nil:
		if isNull(raw) {
			return &dns, nil
		}
	}
	return nil, errors.New("Expecting one of:\n    AddressString\n    boolean\nat network.proxy.1.dns but instead got: " + quoted(raw))
}

// textOf decodes a text. A number counts as the text of a login or password, which may look like one. null clears the
// field.
func textOf(given fields, name string) (*string, error) {
	raw, ok := given[name]
	if !ok {
		return nil, nil
	}
	text := ""
	switch v := value(raw).(type) {
	case string:
		text = v
	default:
		if _, isNumber := v.(float64); isNumber && (name == "login" || name == "password") {
			text = string(raw)
		} else if !isNull(raw) {
			return nil, expecting("string", "proxy.0."+name, raw)
		}
	}
	return &text, nil
}

// portOf decodes a number, or its digits as text. null clears the field, which makes the proxy incomplete.
func portOf(given fields) (*int, error) {
	raw, ok := given["port"]
	if !ok {
		return nil, nil
	}
	port := 0
	switch v := value(raw).(type) {
	case float64:
		port = int(v)
		ok = float64(port) == v
	case string:
		var err error
		port, err = strconv.Atoi(v)
		ok = v == "" || err == nil && strings.Trim(v, "0123456789") == ""
	default:
		ok = isNull(raw)
	}
	if !ok || port < 0 || port > 65535 {
		return nil, expecting("port number", "proxy.0.port", raw)
	}
	return &port, nil
}

// noProxyOf decodes the list of addresses without proxy. It is nil for an absent value and null. An empty list,
// text or object clears it.
func noProxyOf(raw json.RawMessage) (*[]string, error) {
	if raw == nil || isNull(raw) {
		return nil, nil
	}
	list := []string{}
	var members []*string
	err := json.Unmarshal(raw, &members)
	if f, isObject := object(raw); isObject == nil && len(f) == 0 || string(raw) == `""` {
		return &list, nil
	}
	for _, member := range members {
		if member == nil {
			err = errShape
			break
		}
		list = append(list, *member)
	}
	if err != nil {
		return nil, expecting("Array<string>", "proxy.0.noProxy", raw)
	}
	return &list, nil
}

// hostError answers E7 for a failed action on the host.
func hostError(err error) Answer {
	if refused := redsocks.Refused(""); errors.As(err, &refused) {
		return refuseHost(refused.Error())
	}
	if locked := (*view.LockedError)(nil); errors.As(err, &locked) {
		return textAnswer(fasthttp.StatusLocked, locked.Text)
	}
	return textAnswer(fasthttp.StatusServiceUnavailable, err.Error())
}

// blink lets the LED blink, so a person can find the device (docs/spec/device-api.md 2.3).
func (h *handlers) blink(*call) Answer {
	h.dev.Blink()
	return done()
}

// enablePing and disablePing switch the connectivity check (docs/spec/device-api.md 2.9).
func (h *handlers) enablePing(*call) Answer {
	h.dev.EnablePing(true)
	return Answer{Status: fasthttp.StatusNoContent}
}

func (h *handlers) disablePing(*call) Answer {
	h.dev.EnablePing(false)
	return Answer{Status: fasthttp.StatusNoContent}
}
