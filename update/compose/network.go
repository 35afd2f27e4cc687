package compose

import (
	"strconv"
	"strings"

	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/target"
)

// SupervisorNetworkName is the network on which services reach the device API (docs/spec/engine.md 3.3).
const SupervisorNetworkName = "supervisor0"

// SupervisorGateway is the address of the device API on that network.
const SupervisorGateway = "10.114.104.1"

const bridgeNameOption = "com.docker.network.bridge.name"

// SupervisorNetwork is the network supervisor0 as the agent creates it.
func SupervisorNetwork() *Network {
	n := &Network{Name: SupervisorNetworkName, Doc: doc.NetworkCreate{
		Name:    SupervisorNetworkName,
		Options: map[string]string{bridgeNameOption: SupervisorNetworkName},
		IPAM:    doc.IPAM{Config: []doc.IPAMPool{{Subnet: "10.114.104.0/25", Gateway: SupervisorGateway}}},
	}}
	canonicalNetwork(&n.Doc)
	return n
}

// resolveNetwork turns a top-level network into the document for the engine (docs/spec/engine.md 3.2).
func (r *resolver) resolveNetwork(name string, composition target.Map) *Network {
	n := r.notes("network " + name)
	if !isName(name) {
		n.fail("the name may only hold letters, digits, dots, dashes and underscores")
	}
	sec := newSection("", composition, n)
	net := &Network{Name: NetworkName(r.uuid, name)}
	net.Doc = doc.NetworkCreate{
		Name:       net.Name,
		Driver:     sec.text("driver", ""),
		EnableIPv6: sec.flag("enable_ipv6", false),
		Internal:   sec.flag("internal", false),
		ConfigOnly: sec.flag("config_only", false),
		Options:    sec.pairs("driver_opts", false),
		IPAM:       readIPAM(sec.mapping("ipam")),
		Labels:     NormaliseLabels(sec.pairs("labels", true)),
	}
	net.Doc.Labels[labelSupervised] = "true"
	net.Doc.Labels[labelAppID] = strconv.Itoa(r.app.ID)
	if len(net.Doc.IPAM.Config) > 0 {
		net.Doc.Labels[labelCustomIPAM] = "true"
	}
	sec.finish()
	canonicalNetwork(&net.Doc)
	return net
}

func readIPAM(sec *section) doc.IPAM {
	out := doc.IPAM{Driver: sec.text("driver", ""), Options: sec.pairs("options", false)}
	pools, _ := sec.take("config").([]any)
	for _, item := range pools {
		m, ok := item.(map[string]any)
		if !ok {
			if item != nil {
				sec.warn("an entry of ipam.config is not a mapping and is ignored")
			}
			continue
		}
		pool := newSection("ipam.config.", m, sec.notes)
		p := doc.IPAMPool{
			Subnet:             pool.text("subnet", ""),
			Gateway:            pool.text("gateway", ""),
			IPRange:            pool.text("ip_range", ""),
			AuxiliaryAddresses: pool.pairs("aux_addresses", false),
		}
		pool.finish()
		if p.Subnet == "" || p.Gateway == "" {
			sec.warn("an entry of ipam.config has no subnet or no gateway")
		}
		out.Config = append(out.Config, p)
	}
	sec.finish()
	return out
}

// attachment is how a service is connected to networks.
type attachment struct {
	mode     string // as in HostConfig, or service:x
	peer     string // x of service:x
	networks map[string]doc.Endpoint
}

func (a *attachment) isolated() bool { return a.mode == "host" || a.mode == "none" || a.peer != "" }

// UsesHostNetwork reports whether a service uses the host's network.
func UsesHostNetwork(composition target.Map) bool {
	return newSection("", composition, &notes{}).mode("network_mode") == "host"
}

// attach reads networks and network_mode (docs/spec/engine.md 2.8). A service that uses the device API
// also joins supervisor0, unless it has no network of its own (docs/spec/engine.md D25).
func (r *resolver) attach(sec *section, service string, api bool) attachment {
	a := attachment{networks: map[string]doc.Endpoint{}}
	first := r.readNetworks(sec, service, a.networks)
	mode := sec.mode("network_mode")
	if strings.HasPrefix(mode, "container:") {
		sec.warn("network_mode " + mode + " is not supported and is ignored")
		mode = ""
	}
	switch {
	case mode == "host", mode == "none", mode == "bridge":
		a.mode = mode
	case strings.HasPrefix(mode, "service:"):
		a.mode, a.peer = mode, strings.TrimPrefix(mode, "service:")
		if r.app.Release.Services[a.peer] == nil {
			sec.fail("network_mode " + mode + ": there is no such service")
		}
	default:
		a.mode = r.join(sec, firstOf(mode, first, "default"), service, a.networks)
	}
	switch {
	case a.isolated() && len(a.networks) > 0:
		sec.warn("networks are ignored with network_mode " + mode)
		a.networks = nil
	case !a.isolated() && api:
		a.networks[SupervisorNetworkName] = doc.Endpoint{}
	}
	return a
}

// join attaches the service to a network without options if it is not attached yet.
func (r *resolver) join(sec *section, name, service string, into map[string]doc.Endpoint) string {
	if _, declared := r.app.Release.Networks[name]; !declared && name != "default" {
		sec.fail("network " + name + " is not defined")
	}
	full := NetworkName(r.uuid, name)
	if _, joined := into[full]; !joined {
		into[full] = doc.Endpoint{Aliases: []string{service}}
	}
	return full
}

// readNetworks reads the key networks and returns the name of the first network. A mapping has no order, so its names
// are sorted. The order does no harm: see sameMode.
func (r *resolver) readNetworks(sec *section, service string, into map[string]doc.Endpoint) (first string) {
	var names []string
	options := map[string]any{}
	switch v := sec.take("networks").(type) {
	case nil:
	case map[string]any:
		names, options = sortedKeys(v), v
	case []any:
		names = sec.scalars("networks", v)
	default:
		sec.warnType("networks", "a list or mapping of networks")
	}
	for _, name := range names {
		if name == SupervisorNetworkName {
			continue // only the label counts, see attach
		}
		first = firstOf(first, name)
		full := r.join(sec, name, service, into)
		m, ok := options[name].(map[string]any)
		if !ok && options[name] != nil {
			sec.warnType("networks."+name, "a mapping")
		}
		into[full] = readEndpoint(newSection("networks.", m, sec.notes), service)
	}
	return first
}

func readEndpoint(sec *section, service string) doc.Endpoint {
	e := doc.Endpoint{
		Aliases: append(sec.list("aliases"), service),
		IPAMConfig: &doc.EndpointIPAM{
			IPv4Address:  sec.text("ipv4_address", ""),
			IPv6Address:  sec.text("ipv6_address", ""),
			LinkLocalIPs: sec.list("link_local_ips"),
		},
	}
	sec.finish()
	return canonicalEndpoint(e)
}

func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}
