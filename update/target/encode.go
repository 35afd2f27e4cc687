package target

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
)

// Encode is the durable form of a state: the v3 shape, with the reasons why apps are rejected. Equal states have equal
// bytes, and DecodeV3Entry reads an equal state back.
func Encode(s *State) ([]byte, error) {
	apps := Map{}
	for uuid, app := range s.Apps {
		apps[uuid] = encodeApp(app)
	}
	config := s.Config
	if config == nil {
		config = map[string]string{} // the decoder refuses null
	}
	raw, err := json.Marshal(Map{"name": s.Name, "config": config, "apps": apps})
	if err != nil {
		return nil, fmt.Errorf("encode target state: %w", err)
	}
	return raw, nil
}

func encodeApp(app *App) Map {
	out := Map{"id": app.ID, "name": app.Name, "class": app.Class, "is_host": app.IsHost}
	if app.Rejected != "" {
		out["rejected"] = app.Rejected
	}
	if r := app.Release; r != nil {
		out["releases"] = Map{r.Commit: encodeRelease(r)}
	}
	return out
}

func encodeRelease(r *Release) Map {
	services := Map{}
	for name, s := range r.Services {
		services[name] = encodeService(s)
	}
	if r.Agent != nil {
		services[r.Agent.Name] = encodeService(r.Agent)
	}
	return Map{"id": r.ID, "services": services, "volumes": r.Volumes, "networks": r.Networks}
}

func encodeService(s *Service) Map {
	out := Map{
		"id": s.ID, "image_id": s.ImageID, "image": s.Image, "running": s.Running,
		"environment": s.Environment, "labels": s.Labels, "composition": s.Composition,
	}
	if s.Contract != nil {
		out["contract"] = s.Contract
	}
	return out
}

// EncodeLocal is the answer of GET /v2/local/target-state: {"local":{...}} in the v2 shape (docs/spec/device-api.md
// 2.30). DecodeLocal reads equal apps back. But it returns environment and labels that a cloud release has in its
// compositions merged with those of the service. Two apps or services with the same id are an error, because this shape
// cannot hold both.
func EncodeLocal(name string, config map[string]string, apps []*App) ([]byte, error) {
	out := Map{}
	for _, app := range apps {
		key := strconv.Itoa(app.ID)
		if out[key] != nil {
			return nil, fmt.Errorf("encode local target state: two apps have id %s", key)
		}
		shown, err := encodeAppV2(app, key)
		if err != nil {
			return nil, err
		}
		out[key] = shown
	}
	if config == nil {
		config = map[string]string{}
	}
	raw, err := json.Marshal(Map{"local": Map{"name": name, "config": config, "apps": out}})
	if err != nil {
		return nil, fmt.Errorf("encode local target state: %w", err)
	}
	return raw, nil
}

// encodeAppV2 adds members that the v2 shape does not have only when they differ from their defaults.
func encodeAppV2(app *App, key string) (Map, error) {
	out := Map{"name": app.Name, "services": Map{}, "volumes": Map{}, "networks": Map{}}
	if app.UUID != key {
		out["uuid"] = app.UUID
	}
	if app.Class != "fleet" {
		out["class"] = app.Class
	}
	if app.IsHost {
		out["isHost"] = true
	}
	r := app.Release
	if r == nil {
		return out, nil
	}
	services := Map{}
	for _, s := range r.Services {
		id := strconv.Itoa(s.ID)
		if services[id] != nil {
			return nil, fmt.Errorf("encode local target state: two services of app %s have id %s", key, id)
		}
		services[id] = encodeServiceV2(s)
	}
	out["commit"], out["releaseId"] = r.Commit, r.ID
	out["services"], out["volumes"], out["networks"] = services, r.Volumes, r.Networks
	return out, nil
}

// encodeServiceV2 merges the composition into the fields of the service, which win.
func encodeServiceV2(s *Service) Map {
	out := inlineComposition(s.Composition)
	maps.Copy(out, Map{
		"serviceId": s.ID, "imageId": s.ImageID, "serviceName": s.Name, "image": s.Image, "running": s.Running,
		"environment": overlay(s.Composition["environment"], variableKey(), false, s.Environment),
		"labels":      overlay(s.Composition["labels"], labelKey(), true, s.Labels),
	})
	if s.Contract != nil {
		out["contract"] = s.Contract
	}
	return out
}
