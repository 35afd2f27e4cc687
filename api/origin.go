package api

import (
	"net"
	"strings"

	"github.com/valyala/fasthttp"
)

// Any web page can have the browser of a user of the network send requests to the device. Where no key is
// asked for and none comes, only what the browser adds to a request tells the pages of strangers from the user.

// fromStranger is why a request is refused that a page of somebody else may have made, empty when it is
// served (docs/spec/device-api.md 1.7). Programs that are no browsers say nothing of a page.
func (h *handlers) fromStranger(ctx *fasthttp.RequestCtx, changes bool) string {
	value := func(name string) string { return string(ctx.Request.Header.Peek(name)) }
	host := string(ctx.Request.Header.Host())
	origin, referer := value(fasthttp.HeaderOrigin), value(fasthttp.HeaderReferer)
	// Site is same-origin for a page of ours, and none when there is no page, as for an address that the user
	// typed. Browsers send it over plain HTTP only to the machine they run on.
	site := value("Sec-Fetch-Site")
	if isOfOther(origin, host) || isOfOther(referer, host) || site != "" && site != "same-origin" && site != "none" {
		return textForeignOrigin
	}
	said := origin + referer + site
	mozilla := strings.HasPrefix(value(fasthttp.HeaderUserAgent), "Mozilla/")
	// A page can give the browser another name for requests to its own origin. It can set the language, too, also
	// to nothing, but not keep it back. fetch of Node.js sends a language as well, with no other header of
	// Sec-Fetch than the mode. A browser that sends the mode sends them all.
	browser := mozilla || said+value("Sec-Fetch-Dest") != "" ||
		len(ctx.Request.Header.PeekAll(fasthttp.HeaderAcceptLanguage)) > 0 && value("Sec-Fetch-Mode") == ""
	switch {
	case browser && !h.isOwnName(host):
		return textForeignHost(host)
	case mozilla && changes && said == "":
		return textUnknownPage
	}
	return ""
}

// isOfOther tells whether a URL, when there is one, is not of host, which may have a port. The origin of a
// page that has none is the word null.
func isOfOther(url, host string) bool {
	if url == "" {
		return false
	}
	_, rest, _ := strings.Cut(url, "://")
	rest, _, _ = strings.Cut(rest, "/")
	return !strings.EqualFold(rest, host)
}

// privateDomains end names that no stranger can have: the public DNS does not serve them.
var privateDomains = [...]string{".localhost", ".local", ".internal", ".home.arpa"}

// isOwnName tells whether host, which may have a port, can only mean this device and not a name that its owner
// let point here: such a name would make a page of the owner one of the device's own origin.
func (h *handlers) isOwnName(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.Trim(host, "[]")
	}
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	if !strings.Contains(name, ".") || net.ParseIP(name) != nil {
		return name != ""
	}
	for _, domain := range privateDomains {
		if strings.HasSuffix(name, domain) {
			return true
		}
	}
	return h.known.GoesBy(name)
}
