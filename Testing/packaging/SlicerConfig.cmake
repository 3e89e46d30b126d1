# Stands for Slicer when the extension's CMake files are tried without it: the variables and macros that they use. Modules are
# installed as Slicer's own macro does (paths kept, WITH_SUBDIR below the folder's name), and every call is written down. What it
# cannot prove: that Slicer's macros accept the same, that anything compiles, and what CPack makes of it.
set(Slicer_USE_FILE "${CMAKE_CURRENT_LIST_DIR}/UseSlicer.cmake")
set(Slicer_EXTENSION_GENERATE_CONFIG "${CMAKE_CURRENT_LIST_DIR}/Nothing.cmake")
set(Slicer_EXTENSION_CPACK "${CMAKE_CURRENT_LIST_DIR}/Nothing.cmake")
set(Slicer_QTSCRIPTEDMODULES_LIB_DIR "lib/Slicer-5.12/qt-scripted-modules")
set(Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR "lib/Slicer-5.12/qt-scripted-modules")
