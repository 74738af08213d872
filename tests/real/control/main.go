// Control is the coordination server of a tailnet that lives in one test: Tailscale's own test implementation, with a
// relay (DERP) under TLS and a STUN responder beside it. It keeps everything in memory and lets every node in.
package main

import (
	"crypto/tls"
	"flag"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"

	"tailscale.com/derp/derpserver"
	"tailscale.com/net/stun"
	"tailscale.com/tailcfg"
	"tailscale.com/tstest/integration/testcontrol"
	"tailscale.com/types/key"
)

const (
	controlPort = "8080"
	relayPort   = 8443
	stunPort    = 3478
)

func main() {
	address := flag.String("address", "127.0.0.1", "the IPv4 address at which the nodes reach this server")
	flag.Parse()

	serveRelay(*address)
	go serveSTUN(*address)

	server := &testcontrol.Server{
		Logf:            log.Printf,
		ExplicitBaseURL: "http://" + net.JoinHostPort(*address, controlPort),
		DERPMap:         relays(*address),
		AllOnline:       true,
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(*address, controlPort))
	if err != nil {
		log.Fatal(err)
	}
	log.Print("ready") // what the harness waits for
	log.Fatal(http.Serve(listener, server))
}

// relays is the map of relays the nodes are given: the one here. InsecureForTests accepts its self-signed certificate.
func relays(address string) *tailcfg.DERPMap {
	return &tailcfg.DERPMap{Regions: map[int]*tailcfg.DERPRegion{1: {
		RegionID:   1,
		RegionCode: "test",
		Nodes: []*tailcfg.DERPNode{{
			Name:             "t1",
			RegionID:         1,
			HostName:         address,
			IPv4:             address,
			IPv6:             "none",
			STUNPort:         stunPort,
			DERPPort:         relayPort,
			InsecureForTests: true,
			STUNTestIP:       address,
		}},
	}}}
}

func serveRelay(address string) {
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.ParseIP(address), Port: relayPort})
	if err != nil {
		log.Fatal(err)
	}
	server := httptest.NewUnstartedServer(derpserver.Handler(derpserver.New(key.NewNode(), log.Printf)))
	server.Listener.Close()
	server.Listener = listener
	// A relay connection is taken over from HTTP/1.1; HTTP/2 cannot be.
	server.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
	server.StartTLS()
}

// serveSTUN tells each node the address it is seen from.
func serveSTUN(address string) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(address), Port: stunPort})
	if err != nil {
		log.Fatal(err)
	}
	var packet [64 << 10]byte
	for {
		n, from, err := conn.ReadFromUDPAddrPort(packet[:])
		if err != nil {
			log.Fatal(err)
		}
		id, err := stun.ParseBindingRequest(packet[:n])
		if err != nil {
			continue
		}
		seen := netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		if _, err := conn.WriteToUDPAddrPort(stun.Response(id, seen), from); err != nil {
			log.Printf("stun: %v", err)
		}
	}
}
