# Installs a released resin-supervisor and its unit. Name this file resin-supervisor-bin_<version>.bb in
# a layer, and put the files that `make release` leaves in dist/release into the folder
# resin-supervisor-bin beside it.
#
# The program is static: it needs no library of the image. It needs a container engine behind
# /var/run/docker.sock (or DOCKER_SOCKET in /etc/default/resin-supervisor) and, for a cloud, the
# certificate bundle.

SUMMARY = "Runs the containers of a target state on a device"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://${S}/LICENSE;md5=3b83ef96387f14655fc854ddc3c6bd57"

# GOARCH in Go's words; a board whose tune is none of these does not match COMPATIBLE_HOST.
SUPERVISOR_ARCH = "none"
SUPERVISOR_ARCH:x86-64 = "amd64"
SUPERVISOR_ARCH:aarch64 = "arm64"
SUPERVISOR_ARCH:arm = "armv6"
SUPERVISOR_ARCH:armv7a = "armv7"
SUPERVISOR_ARCH:armv7ve = "armv7"
COMPATIBLE_HOST = "(x86_64|aarch64|arm).*-linux.*"

SRC_URI = "\
    file://resin-supervisor-linux-${SUPERVISOR_ARCH} \
    file://resin-supervisor.service \
    file://LICENSE \
"
# Newer releases unpack into UNPACKDIR and refuse WORKDIR here.
S = "${@d.getVar('UNPACKDIR') or d.getVar('WORKDIR')}"

inherit systemd
SYSTEMD_SERVICE:${PN} = "resin-supervisor.service"

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    install -D -m 0755 ${S}/resin-supervisor-linux-${SUPERVISOR_ARCH} ${D}${bindir}/resin-supervisor
    install -D -m 0644 ${S}/resin-supervisor.service ${D}${systemd_system_unitdir}/resin-supervisor.service
}

# The program is stripped and static when it arrives.
INHIBIT_PACKAGE_STRIP = "1"
INHIBIT_PACKAGE_DEBUG_SPLIT = "1"
INSANE_SKIP:${PN} += "already-stripped ldflags"

RDEPENDS:${PN} += "ca-certificates"
# By which it sets the firewall of the host.
RRECOMMENDS:${PN} += "iptables"
