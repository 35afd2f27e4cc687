package current

import (
	"maps"
	"slices"
)

// EnvValue is the value of a variable of a container, empty when the container has none of that name.
func (c *Container) EnvValue(name string) string {
	for _, e := range c.Env {
		if len(e) > len(name) && e[len(name)] == '=' && e[:len(name)] == name {
			return e[len(name)+1:]
		}
	}
	return ""
}

// Newest returns the newest container of each service of an app.
func (s *State) Newest(appID int) map[string]*Container {
	found := make(map[string]*Container)
	for _, c := range s.Containers {
		if c.AppID != appID {
			continue
		}
		if other := found[c.ServiceName]; other == nil || other.CreatedAt.Before(c.CreatedAt) {
			found[c.ServiceName] = c
		}
	}
	return found
}

// AppIDs lists the apps that have a container, a network or a volume, by ascending id.
func (s *State) AppIDs() []int {
	ids := make(map[int]bool)
	for _, c := range s.Containers {
		ids[c.AppID] = true
	}
	for _, n := range s.Networks {
		ids[n.AppID] = true
	}
	for _, v := range s.Volumes {
		ids[v.AppID] = true
	}
	delete(ids, 0) // networks that carry no app id: the containers of their apps do
	return slices.Sorted(maps.Keys(ids))
}
