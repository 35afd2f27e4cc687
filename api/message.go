package api

import (
	"strconv"
)

// The strings that clients may match (docs/spec/device-api.md 1.9).
const (
	textUnauthorized   = "Unauthorized"
	textMissingApp     = "Missing app id"                                                       // S1
	textInvalidApp     = "Invalid app id"                                                       // S2
	textPurgeApp       = "Invalid or missing appId"                                             // S3
	textAppNotFound    = "App not found"                                                        // S4
	textSingleOnly     = "Some v1 endpoints are only allowed on single-container apps"          // S5
	textServiceMissing = "Service not found, a container must exist for this endpoint to work"  // S7
	textNotInTarget    = "Service does not exist in target release"                             // S8
	textNoService      = "serviceName or imageId parameters were not provided or the app is " + // S9
		"multi-container. Use the v2 service action endpoints."
	textAppUnavailable = "Application is not available"                         // S14
	textServiceName    = "Could not find service with that name"                // S19
	textHostConfig     = "Could not parse host config input to a valid format:" // S22
	textAppNotThere    = "App not found: an app needs to be " +                 // S6
		"installed for this endpoint to work.\n\t" +
		"If you've recently moved this device from another app,\n\t" +
		"please push an app and wait for it to be installed first."
)

// Messages of our own.
const (
	textForeignOrigin = "Requests from other origins are refused"
	textUnknownPage   = "Requests that change something are refused when the browser does not say which page made them. " +
		"Send an API key, or use another program, such as curl"
	textNoKeyToRenew  = "Send the API key that is to be replaced"
	textManyLongHeads = "too many requests with long headers, try again later"
	textBusy          = "too many operations are running, try again later"
	textUnknownError  = "Unknown error"
)

func textForeignHost(host string) string {
	return "Requests of browsers to " + host + " are refused, because that name may belong to somebody else. " +
		"Use the address of the device, its host name, or a name that ends in .local"
}

func textNotInCurrent(id int) string { // S10
	return "Application with ID " + strconv.Itoa(id) + " is not in the current state"
}

func textBadParam(raw string) string { return "Failed to decode param '" + raw + "'" }

func textNoRoute(method, path string) string { return "Cannot " + method + " " + path }

func textInvalidAppPath(raw string) string { return "Invalid application ID: " + raw } // S15

func textNoSuchApp(id int) string { return "Application ID does not exist: " + strconv.Itoa(id) } // S16

func textStateUnreadable(id int) string { // S17
	return "Unable to retrieve state for application ID: " + strconv.Itoa(id)
}
