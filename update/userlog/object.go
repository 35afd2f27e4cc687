package userlog

import (
	"strings"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
)

// Service names a service in messages, with the image of its container.
func Service(service, image string) string { return service + " " + image }

// Container names the service and image of a container in messages.
func Container(c *current.Container) string { return Service(c.ServiceName, c.EngineImage) }

// TargetService names a service of the target in messages.
func TargetService(s *compose.Service) string { return Service(s.Name, s.Container.Doc.Image) }

// ContainerKey tells a container from those of all apps, for Log.Do.
func ContainerKey(c *current.Container) string {
	return current.Slot(current.AppKey(c.AppUUID, c.AppID), c.ServiceName+c.ID)
}

// ShortName is the name that a composition gives a volume or network, without the app before it.
func ShortName(engineName string) string {
	if _, name, ok := strings.Cut(engineName, "_"); ok {
		return name
	}
	return engineName
}
