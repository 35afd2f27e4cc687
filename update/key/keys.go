package key

import "slices"

// keys is the stored document. It is immutable once it is shared.
type keys struct {
	Global   string       `json:"global"`
	Services []serviceKey `json:"services"`
}

type serviceKey struct {
	AppID   int    `json:"appId"`
	Service string `json:"service"`
	Key     string `json:"key"`
}

func (k serviceKey) belongsTo(appID int, service string) bool {
	return k.AppID == appID && k.Service == service
}

// of returns the key of a service.
func (k keys) of(appID int, service string) (string, bool) {
	for _, held := range k.Services {
		if held.belongsTo(appID, service) {
			return held.Key, true
		}
	}
	return "", false
}

// with returns a copy in which the service has this key.
func (k keys) with(appID int, service, key string) keys {
	next := slices.Clone(k.Services)
	for i := range next {
		if next[i].belongsTo(appID, service) {
			next[i].Key = key
			return keys{Global: k.Global, Services: next}
		}
	}
	next = append(next, serviceKey{AppID: appID, Service: service, Key: key})
	return keys{Global: k.Global, Services: next}
}

// usable drops invalid keys, duplicate keys, and all but the first key of a service. A service that loses its key
// gets a new one at the next use.
func usable(stored keys) keys {
	var clean keys
	seen := map[string]bool{}
	if isWord(stored.Global) {
		clean.Global = stored.Global
		seen[stored.Global] = true
	}
	for _, held := range stored.Services {
		if _, twice := clean.of(held.AppID, held.Service); twice || seen[held.Key] || !isWord(held.Key) {
			continue
		}
		seen[held.Key] = true
		clean.Services = append(clean.Services, held)
	}
	return clean
}
