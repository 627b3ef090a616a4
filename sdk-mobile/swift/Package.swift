// swift-tools-version: 5.9
import PackageDescription

let package = Package(
    name: "Wakeline",
    platforms: [.iOS(.v15), .macOS(.v12), .tvOS(.v15)],
    products: [.library(name: "Wakeline", targets: ["Wakeline"])],
    targets: [
        // What README's commands make: the library with its C header, and the calls that `wakeline-bindings swift` writes.
        .binaryTarget(name: "WakelineFFI", path: "Generated/WakelineFFI.xcframework"),
        .target(name: "WakelineCore", dependencies: ["WakelineFFI"], path: "Generated/Swift"),
        .target(name: "Wakeline", dependencies: ["WakelineCore"]),
        .testTarget(name: "WakelineTests", dependencies: ["Wakeline"]),
    ]
)
