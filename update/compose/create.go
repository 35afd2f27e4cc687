package compose

import (
	"errors"
	"slices"
	"strings"

	"resin-supervisor/update/engine/doc"
)

// CreateBody is the document for POST /containers/create: the canonical document with the AtCreate variables and the
// endpoint of the main network. Engines below API 1.44 refuse more than one endpoint, so Secondary has the others.
// peerID returns the id of a service's container. An error says that the service whose network is shared has no
// container. The document shares its maps with the service and must not be changed.
func CreateBody(s *Service, peerID func(service string) string) (*doc.Create, error) {
	d := s.Container.Doc
	// null means the image's value to the engine, and these lists hold it already where it applies
	d.Cmd = append([]string{}, d.Cmd...)
	d.Entrypoint = append([]string{}, d.Entrypoint...)
	d.Env = append(joinEnv(s.AtCreate), d.Env...)
	if peer, shared := strings.CutPrefix(d.HostConfig.NetworkMode, "service:"); shared {
		id := peerID(peer)
		if id == "" {
			return nil, errors.New("create container for service " + s.Name + ": service " + peer +
				", whose network it shares, has no container")
		}
		d.HostConfig.NetworkMode = "container:" + id
	}
	main := d.HostConfig.NetworkMode
	if e, joined := s.Container.Networks[main]; joined {
		e.MacAddress = d.MacAddress // API 1.44 and later read it here
		d.NetworkingConfig.EndpointsConfig = map[string]doc.Endpoint{main: e}
	}
	return &d, nil
}

// Inherit adds the anonymous volumes (engine name by path) of a service's last container to its create document, where
// the service has an anonymous volume at that path. The volumes are never compared.
func Inherit(d *doc.Create, s *Service, volumes map[string]string) {
	h := &d.HostConfig
	h.Binds, h.Mounts = slices.Clone(h.Binds), slices.Clone(h.Mounts)
	for path, volume := range volumes {
		if !s.Container.Anonymous(path) {
			continue
		}
		i := slices.IndexFunc(h.Mounts, func(m doc.Mount) bool { return m.Target == path })
		if i < 0 {
			h.Binds = append(h.Binds, volume+":"+path)
		} else {
			h.Mounts[i].Source = volume
		}
	}
}

// Secondary holds the networks to join after creation and before the start, by engine name.
func Secondary(s *Service) map[string]doc.Endpoint {
	out := make(map[string]doc.Endpoint, len(s.Container.Networks))
	for name, e := range s.Container.Networks {
		if name != s.Container.Doc.HostConfig.NetworkMode {
			out[name] = e
		}
	}
	return out
}

// FromContainer is the inverse of CreateBody: it describes an existing container as a service, to create the container
// again as it is. c is the container read back, and env its raw environment. serviceOf names the service of a container
// of the same app by id, empty when there is none. Name and update settings come from the labels. Image, ImageID and
// DependsOn stay empty, because a container does not tell them.
func FromContainer(c *Container, env []string, serviceOf func(id string) string) *Service {
	copied := &Container{Doc: c.Doc, Networks: make(map[string]doc.Endpoint, len(c.Networks))}
	for name, e := range c.Networks {
		e.MacAddress = "" // the engine chose it
		copied.Networks[name] = e
	}
	labels := NormaliseLabels(c.Doc.Labels)
	s := &Service{Name: labels[labelServiceName], Running: true, Container: copied, ImageKnown: true, AtCreate: map[string]string{}}
	s.ID, _ = parseID(labels[labelServiceID])
	s.applyUpdateLabels(labels, &Facts{}, &notes{})
	if id, shared := strings.CutPrefix(c.Doc.HostConfig.NetworkMode, "container:"); shared {
		if s.PeerOf = serviceOf(id); s.PeerOf != "" {
			copied.Doc.HostConfig.NetworkMode = "service:" + s.PeerOf
			s.DependsOn = []Dependency{{Service: s.PeerOf, Condition: Started}}
		}
	}
	given := splitEnv(env)
	for _, name := range [...]string{nameAtInit, nameAtInitResin} {
		if value, have := given[name]; have {
			s.AtCreate[name] = value
		}
	}
	return s
}
