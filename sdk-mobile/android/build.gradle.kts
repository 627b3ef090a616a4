plugins {
    id("com.android.library") version "8.13.0"
    id("org.jetbrains.kotlin.android") version "2.2.20"
}

android {
    namespace = "wakeline.android"
    compileSdk = 36
    defaultConfig {
        minSdk = 26
        consumerProguardFiles("consumer-rules.pro")
    }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_11
        targetCompatibility = JavaVersion.VERSION_11
    }
    sourceSets["main"].kotlin {
        // The library as Maven builds and tests it, and the calls that `wakeline-bindings kotlin` wrote.
        srcDirs("src/main/kotlin", "../kotlin/wakeline/src/main/kotlin", "generated/kotlin")
    }
    // `generated/jni/arm64-v8a/libwakeline_mobile.so`, …
    sourceSets["main"].jniLibs.srcDirs("generated/jni")
}

kotlin {
    compilerOptions {
        jvmTarget.set(org.jetbrains.kotlin.gradle.dsl.JvmTarget.JVM_11)
    }
}

dependencies {
    // With `@aar` JNA brings its own native part for Android.
    implementation("net.java.dev.jna:jna:5.17.0@aar")
    api("org.jetbrains.kotlinx:kotlinx-coroutines-android:1.10.2")
    implementation("org.jetbrains.kotlinx:kotlinx-serialization-json:1.9.0")
    implementation("androidx.lifecycle:lifecycle-process:2.9.4")
}
