#if canImport(UIKit) && !os(watchOS)
    import UIKit

    extension Wakeline {
        /// Tells the client when the app is visible, when it is not, and when memory is short. Call it once, after
        /// ``configure(_:)``; what waits when the app leaves the screen is sent in the seconds that the system gives.
        @MainActor
        public func followLifecycle(of application: UIApplication = .shared) {
            let center = NotificationCenter.default
            func follow(_ name: Notification.Name, _ act: @escaping @MainActor (Wakeline) -> Void) {
                center.addObserver(forName: name, object: application, queue: .main) { [weak self] _ in
                    MainActor.assumeIsolated {
                        if let self { act(self) }
                    }
                }
            }
            follow(UIApplication.didBecomeActiveNotification) { $0.foreground() }
            follow(UIApplication.didReceiveMemoryWarningNotification) { $0.lowMemory() }
            follow(UIApplication.didEnterBackgroundNotification) { wakeline in
                wakeline.background()
                let time = application.beginBackgroundTask(withName: "wakeline")
                _Concurrency.Task { @MainActor in
                    _ = await wakeline.flush()
                    application.endBackgroundTask(time)
                }
            }
            if application.applicationState == .active { foreground() }
        }
    }
#endif
